"""An engine looks around before it serves: what can it reach of the router?"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.engine_user import DEFAULT_USER
from tests.e2e.caller import calling
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import ROOT, Worker

NOBODY = 65534
SEEING, LOADING = "acme/seeing", "acme/loading"
PYTHON = f"python3.{sys.version_info.minor}"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Unprivileged(Worker):
    """A worker that runs as an ordinary user of the machine."""

    def start(self) -> None:
        user = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        python = self.directory.with_name("venv") / "bin" / "python"
        self.program = ["setpriv", *user, "--inh-caps=-all", str(python), "-m", "router"]
        self.directory.mkdir()
        os.chown(self.directory, NOBODY, NOBODY)
        Path(self._environ["SSL_CERT_FILE"]).parent.chmod(0o755)
        super().start()


def make_venv(directory: Path) -> None:
    """Make an environment with these tests' packages and a python that every user can run."""
    python = shutil.which(PYTHON, path="/usr/bin:/bin")
    assert python is not None
    subprocess.run([python, "-m", "venv", "--without-pip", str(directory)], check=True)
    [packages] = Path(sys.prefix).glob("lib/python3*/site-packages")
    [own] = directory.glob("lib/python3*/site-packages")
    (own / "tests.pth").write_text(str(packages.resolve()))


@contextmanager
def place(*, open_to_all: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755 if open_to_all else 0o711)
        yield directory


def settings(hub: LoopbackHub, directory: Path) -> dict[str, str]:
    """Settings with which the engine reports into a directory there, and tries to read a file.

    No process is prestarted: it would report as well.
    """
    reports, file = directory / "reports", directory / "token"
    reports.mkdir()
    reports.chmod(0o1777)
    file.write_text("secret")
    file.chmod(0o600)
    return {
        **hub.environment(),
        "ENGINE_PYTHON": str(ROOT / "tests/fake_engine/spying_python"),
        "CUDA_VISIBLE_DEVICES": "",
        "STANDBY_ENGINES": "0",
        "SGLANG_TEST_REPORTS": str(reports),
        "SGLANG_TEST_FILE": str(file),
        "HF_TOKEN": hub.add_account("acme"),
    }


async def report(hub: LoopbackHub, worker: Worker, directory: Path) -> Any:
    """The report of an engine that starts during a download."""
    struck = hub.faults.add("/cdn/.*", "hang")
    async with calling(worker.url) as caller:
        loading = asyncio.create_task(caller.chat(LOADING))
        try:
            await eventually(struck)
            assert (await caller.chat(SEEING)).text == f"I am {SEEING}"
            # Before the download ends: then the other model's engine starts, and reports too.
            [file] = await asyncio.to_thread(lambda: list((directory / "reports").iterdir()))
            return json.loads(await asyncio.to_thread(file.read_text))
        finally:
            loading.cancel()
            await asyncio.wait([loading])
            hub.faults.clear()


def seen(hub: LoopbackHub, directory: Path, kind: type[Worker] = Worker, **own: str) -> Any:
    with kind(directory / "worker", {**settings(hub, directory), **own}) as worker:
        found = asyncio.run(report(hub, worker, directory))
        router = f"{worker.pid} "
        assert any(line.startswith(router) for line in found["found"])
        status = worker.stop()
        assert (status, worker.processes()) == (0, []), worker.log
        return found, worker.log


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        for name in (SEEING, LOADING):
            files = {
                **servable(),
                "model.safetensors": name.encode().ljust(1000),
            }
            hub.add_repo(name, files)
        yield hub


def of_the_router(report: Any) -> dict[str, list[str]]:
    """What the engine could open of the router, its downloads and the supervisor."""
    words = ("-m router", "router.downloads.child", "supervisor.py")
    found: dict[str, list[str]] = report["found"]
    for word in words:
        assert any(word in line for line in found), f"{word} does not run"
    return {line: opened for line, opened in found.items() if any(w in line for w in words)}


def is_alone(report: Any) -> bool:
    """Whether the engine's directories belong to it alone and are empty."""
    return (
        report["left there"] == ["hf", "tmp"]
        and report["hub"] == []
        and report["modes"] == ["0o700", "0o700"]
        and not report["capabilities"]
    )


@as_root
def test_engines_of_root_run_as_a_user_of_their_own(hub: LoopbackHub) -> None:
    with place(open_to_all=True) as directory:
        (directory / "worker").mkdir()
        found, log = seen(hub, directory)
    assert found["uid"] == int(DEFAULT_USER), log
    assert found["groups"] in ([], [int(DEFAULT_USER)])
    assert is_alone(found)
    assert not any(of_the_router(found).values())
    assert not found["secret file"]
    assert "without capabilities" not in log


@as_root
def test_engines_whose_user_could_not_read_a_model_lose_the_powers_of_root(
    hub: LoopbackHub,
) -> None:
    with place(open_to_all=False) as directory:
        (directory / "worker").mkdir()
        (directory / "worker").chmod(0o700)
        found, log = seen(hub, directory)
    assert found["uid"] == 0
    assert is_alone(found)
    assert not any(of_the_router(found).values())
    assert "the user 60800:60800 (ENGINE_USER) can't use an engine's files" in log
    assert log.count("without capabilities") == 1


@as_root
@pytest.mark.skipif(shutil.which(PYTHON, path="/usr/bin:/bin") is None, reason="no such python")
def test_engines_of_another_user_see_nothing_of_the_router(hub: LoopbackHub) -> None:
    with place(open_to_all=True) as directory:
        make_venv(directory / "venv")
        found, _ = seen(hub, directory, Unprivileged)
    assert found["uid"] == NOBODY
    assert is_alone(found)
    assert not any(of_the_router(found).values())


@as_root
def test_the_operator_may_choose_the_user(hub: LoopbackHub) -> None:
    with place(open_to_all=True) as directory:
        (directory / "worker").mkdir()
        found, _ = seen(hub, directory, ENGINE_USER="nobody")
    assert found["uid"] == NOBODY
