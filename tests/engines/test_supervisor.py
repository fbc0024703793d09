"""The supervisor alone. The test plays the router."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from engines.process import SUPERVISOR
from tests.engines.trees import WITHIN, StubbornTree, eventually

pytestmark = pytest.mark.process

ALL_TRAITS = ("child", "daemon", "ignores")
# Seconds, from before the supervisor's first line to well after all processes run.
MOMENTS = [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1]

Run = Callable[..., "SupervisedEngine"]


AS_IT_IS = (str(SUPERVISOR),)
# With a clock that jumps ahead at each look, as on a machine that stands still again and again.
_FALTERING_CLOCK = """
import itertools, runpy, sys, time
time.monotonic = itertools.count(step=100).__next__
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FALTERING = ("-c", _FALTERING_CLOCK, str(SUPERVISOR))


class SupervisedEngine:
    def __init__(
        self, argv: list[str], env: dict[str, str], supervisor: tuple[str, ...]
    ) -> None:
        self.lifeline, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", *supervisor, "", "", *argv],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        theirs.close()

    def ends(self) -> int:
        return self.process.wait(WITHIN)

    def output(self) -> bytes:
        return self.process.communicate(timeout=WITHIN)[0]

    def clear(self) -> None:
        self.lifeline.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def run(tree: StubbornTree) -> Iterator[Run]:
    running: list[SupervisedEngine] = []

    def start(argv: list[str], supervisor: tuple[str, ...] = AS_IT_IS) -> SupervisedEngine:
        running.append(SupervisedEngine(argv, tree.env, supervisor))
        return running[-1]

    yield start
    tree.kill()  # first, because a survivor would hold the output open
    for engine in running:
        engine.clear()


@pytest.mark.parametrize("supervisor", [AS_IT_IS, FALTERING], ids=["usual", "faltering"])
def test_a_lost_router_leaves_nothing(
    run: Run, tree: StubbornTree, supervisor: tuple[str, ...]
) -> None:
    engine = run(tree.argv(*ALL_TRAITS), supervisor)
    eventually(tree.stands)
    engine.lifeline.close()
    assert engine.ends() == 128 + signal.SIGKILL
    assert tree.is_gone()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_router_lost_at_any_moment_of_the_start_leaves_nothing(
    run: Run, tree: StubbornTree, moment: float
) -> None:
    engine = run(tree.argv(*ALL_TRAITS))
    time.sleep(moment * random.uniform(0.8, 1.2))
    engine.lifeline.close()
    engine.ends()
    assert tree.is_gone()


def test_a_process_tree_that_forks_forever_is_ended(run: Run, tree: StubbornTree) -> None:
    engine = run(tree.argv("forks", "child"))
    eventually(tree.stands)
    engine.lifeline.close()
    engine.ends()
    assert tree.is_gone()


def test_a_killed_main_leaves_nothing(run: Run, tree: StubbornTree) -> None:
    engine = run(tree.argv(*ALL_TRAITS))
    eventually(tree.stands)
    os.kill(tree.pid("main"), signal.SIGKILL)
    assert engine.ends() == 128 + signal.SIGKILL
    assert tree.is_gone()


@pytest.mark.parametrize(
    ("trait", "code"), [("exit=0", 0), ("exit=3", 3), ("kill=11", 139), ("kill=6", 134)]
)
def test_it_exits_as_the_engine_did_once_all_processes_are_gone(
    run: Run, tree: StubbornTree, trait: str, code: int
) -> None:
    engine = run(tree.argv("child", "daemon", trait))
    assert engine.ends() == code
    assert tree.is_gone()


def test_a_killed_supervisor_takes_the_engine_along(run: Run, tree: StubbornTree) -> None:
    engine = run(tree.argv("ignores"))
    eventually(tree.stands)
    engine.process.kill()
    eventually(tree.is_gone)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_supervisor_killed_at_any_moment_of_the_start_takes_the_engine_along(
    run: Run, tree: StubbornTree, moment: float
) -> None:
    engine = run(tree.argv("ignores"))
    time.sleep(moment * random.uniform(0.8, 1.2))
    engine.process.kill()
    eventually(tree.is_gone)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_is_forwarded_to_the_engine(
    run: Run, tree: StubbornTree, number: signal.Signals
) -> None:
    engine = run(tree.argv("child"))
    eventually(tree.stands)
    engine.process.send_signal(number)
    # Python's own handler turns SIGINT into KeyboardInterrupt, then dies by it.
    assert engine.ends() == 128 + number
    assert tree.is_gone()


def test_an_orphans_quit_signal_does_not_end_the_supervisor(
    run: Run, tree: StubbornTree
) -> None:
    engine = run(tree.argv("child"))
    eventually(tree.stands)
    engine.process.send_signal(signal.SIGQUIT)
    engine.process.send_signal(signal.SIGTERM)  # handled after SIGQUIT
    assert engine.ends() == 128 + signal.SIGTERM


def test_the_engine_inherits_no_files_and_no_signal_settings(run: Run) -> None:
    look = (
        "import os, sys\n"
        "status = dict(l.split(':\t') for l in open('/proc/self/status') if l[:3] == 'Sig')\n"
        "print(os.readlink('/proc/self/fd/0'), sorted(os.listdir('/proc/self/fd'))[:-1],\n"
        "      int(status['SigBlk'], 16), int(status['SigIgn'], 16),\n"
        "      os.getpgid(0) == os.getppid() == os.getsid(0))\n"
    )
    # `sh` shows what was inherited; Python itself ignores SIGPIPE at startup.
    engine = run(
        ["sh", "-c", 'grep SigIgn /proc/self/status; exec $0 -c "$1"', sys.executable, look]
    )
    ignored, rest = engine.output().decode().splitlines()
    # 32 and 33 belong to the C library: no program can set them, and they are inherited.
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    assert int(ignored.split()[1], 16) & ours == 0
    assert rest.startswith("/dev/null ['0', '1', '2'] 0 ")
    assert rest.endswith("True")


def test_a_missing_executable_is_named(run: Run) -> None:
    engine = run(["/nowhere/python"])
    assert engine.output() == b"can't start /nowhere/python: No such file or directory\n"
    assert engine.ends() == 127
