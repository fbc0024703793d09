"""The models file changes while the worker runs."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.admin import Operator, operating
from tests.e2e.caller import Caller, calling
from tests.e2e.harness import ENDLESS, Harness
from tests.eventually import eventually
from tests.fake_engine import PYTHON
from tests.worker import Worker

BEFORE = """
- model: acme/one
  aliases: [first]
- model: acme/endless
  flags: {context-length: 64}
"""
AFTER = """
- model: acme/one
  aliases: [renamed]
- model: acme/hidden
  aliases: [third]
  preload: true
"""


def write(file: Path, models: str) -> None:
    file.write_text(models)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "models.yaml"


@pytest.fixture(scope="module")
def worker(harness: Harness, file: Path) -> Iterator[Worker]:
    harness.model("acme/one")
    harness.model("acme/hidden", private=True)
    harness.model("acme/endless", **ENDLESS)
    write(file, BEFORE)
    with harness.worker(
        MODELS_CONFIG=str(file),
        MAX_LOADED_MODELS="4",
        HF_TOKEN=harness.hub.add_account("acme"),
        HF_TOKEN_MODELS="none",
    ) as worker:
        yield worker


@pytest.fixture
async def operator(worker: Worker) -> AsyncIterator[Operator]:
    async with operating(worker.url) as operator:
        yield operator


async def test_a_wrong_file_changes_nothing_and_says_why(
    file: Path, worker: Worker, caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("first")).status == 200
    write(file, BEFORE.replace("flags", "flgs"))
    status, answer = await operator.post("reload")
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert "flgs" in answer["error"]["message"]
    assert (await caller.chat("first")).status == 200
    worker.send(signal.SIGHUP)
    await eventually(lambda: worker.log.count("not reloaded: ") == 2)
    write(file, BEFORE)


async def test_a_new_file_is_served_at_once_and_leaves_alone_what_is_the_same(
    harness: Harness, file: Path, caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("first")).status == 200
    refused = await caller.chat("acme/hidden")
    assert refused.refusal == (404, "model_not_found")
    async with caller.stream("acme/endless") as stream:
        await stream.event()
        write(file, AFTER)
        status, answer = await operator.post("reload")
        assert status == 200
        assert [one.partition("@")[0] for one in answer["unloaded"]] == ["acme/endless"]
        assert [one["name"] for one in answer["models"]] == ["renamed", "third"]
        assert (await operator.engine("acme/endless"))["state"] == "draining"
        await stream.event()  # requests in flight continue
    await operator.until("acme/hidden", lambda one: one and one["state"] == "ready")
    assert (await caller.chat("third")).status == 200
    assert (await caller.chat("renamed")).status == 200
    assert len(harness.journal.events("start", "acme/one")) == 1
    assert (await caller.chat("first")).status == 400
    await operator.until("acme/endless", lambda one: not one)


async def hang_up(worker: Worker, file: Path, models: str) -> None:
    """Change the models file, and tell the worker with SIGHUP."""
    write(file, models)
    before = worker.log.count("reloaded: ")
    worker.send(signal.SIGHUP)
    await eventually(lambda: worker.log.count("reloaded: ") > before)


async def test_what_the_operator_no_longer_names_is_no_longer_granted(
    file: Path, worker: Worker, caller: Caller
) -> None:
    await hang_up(worker, file, AFTER)
    assert (await caller.chat("acme/hidden")).status == 200
    await hang_up(worker, file, BEFORE)
    assert (await caller.chat("acme/hidden")).refusal == (404, "model_not_found")


def keeps_hangups(worker: Worker) -> bool:
    """Whether the kernel still holds a SIGHUP back from the worker."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    (blocked,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    return int(blocked, 16) >> (signal.SIGHUP - 1) & 1 == 1


async def test_a_signal_that_comes_before_the_worker_listens_is_kept(
    harness: Harness, tmp_path: Path
) -> None:
    file = tmp_path / "models.yaml"
    write(file, BEFORE)
    python, begin = tmp_path / "python", tmp_path / "begin"  # which a start waits for
    python.write_text(
        f'#!/bin/sh\nwhile [ ! -e {begin} ]; do sleep 0.01; done\nexec {PYTHON} "$@"\n'
    )
    python.chmod(0o755)
    worker = harness.new_worker(MODELS_CONFIG=str(file), ENGINE_PYTHON=str(python))
    worker.start()
    try:
        await eventually(lambda: keeps_hangups(worker))
        worker.send(signal.SIGHUP)
        begin.touch()
        await eventually(lambda: "reloaded: " in worker.log)
        assert not keeps_hangups(worker)
        assert worker.stop() == 0
    finally:
        worker.end()


async def test_a_worker_that_leaves_reads_no_file(harness: Harness, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    write(file, BEFORE)
    with harness.new_worker(MODELS_CONFIG=str(file), DRAIN_TIMEOUT="60") as worker:
        async with calling(worker.url) as caller, caller.stream("acme/endless") as stream:
            await stream.event()
            worker.send(signal.SIGTERM)
            await eventually(lambda: "leaving: " in worker.log)
            worker.send(signal.SIGHUP)
            await stream.event()
        assert worker.wait() == 0
    assert "reloaded: " not in worker.log
    assert "Traceback" not in worker.log
