from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from router.pid1 import under_init
from tests.fake_engine import PYTHON
from tests.worker import ROOT, Worker

pytestmark = pytest.mark.process

WITHIN = 90.0  # seconds; far more than anything here takes

CHILD = """
import os, signal, sys, time
from router.pid1 import under_init

def worker():
    {body}

sys.exit(under_init(worker))
"""


NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def namespace(body: str) -> list[str]:
    """A command that runs `body` below process 1 of a new PID namespace."""
    code = CHILD.format(body=body.replace("\n", "\n    "))
    return [*NAMESPACE, sys.executable, "-c", code]


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False
    )
    return probe.returncode == 0


in_a_namespace = pytest.mark.skipif(not may_unshare(), reason="PID namespaces need root")


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        namespace(body), cwd=ROOT, capture_output=True, text=True, timeout=WITHIN, check=False
    )


@in_a_namespace
def test_the_container_exits_with_the_workers_status() -> None:
    assert run("return 7").returncode == 7
    assert run("os.kill(os.getpid(), signal.SIGKILL)").returncode == 128 + signal.SIGKILL


@in_a_namespace
def test_orphans_are_reaped_and_their_sigquit_does_no_harm() -> None:
    body = """
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        while os.getppid() != 1: time.sleep(0.01)
        os.write(write, str(os.getpid()).encode())
        os.kill(1, signal.SIGQUIT)
    os._exit(0)
os.wait()
orphan = os.read(read, 99).decode()
while os.path.exists(f"/proc/{orphan}"): time.sleep(0.01)
return 0
"""
    ended = run(body.strip())
    assert (ended.returncode, ended.stderr) == (0, "")


@in_a_namespace
def test_signals_reach_the_worker() -> None:
    body = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(42))
print("ready", flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        namespace(body.strip()), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # `unshare` waits for process 1, its only child.
        os.kill(int(_only_child(process.pid)), signal.SIGTERM)
        assert process.wait(WITHIN) == 42


@in_a_namespace
def test_the_command_runs_below_process_1(tmp_path: Path) -> None:
    worker = Worker(tmp_path, {"ENGINE_PYTHON": str(PYTHON)})
    worker.program = [*NAMESPACE, *worker.program]
    with worker:
        init = int(_only_child(worker.pid))
        assert _only_child(init)
        os.kill(init, signal.SIGTERM)
        assert worker.wait() == 0


def _only_child(parent: int) -> str:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(entry.name)
    (child,) = found
    return child


def test_without_being_process_1_nothing_is_forked() -> None:
    assert under_init(lambda: 3) == 3
