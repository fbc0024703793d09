"""The guard alone: this test is its router."""

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

from engines.process import GUARD
from tests.engines.kinship import WITHIN, Family, eventually

EVERYBODY = ("child", "daemon", "deaf")
# From before the guard's first line to well after the whole family stands.
MOMENTS = [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1]

Run = Callable[..., "Guarded"]


class Guarded:
    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.lifeline, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), *argv],
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
def run(family: Family) -> Iterator[Run]:
    running: list[Guarded] = []

    def start(argv: list[str]) -> Guarded:
        running.append(Guarded(argv, family.env))
        return running[-1]

    yield start
    family.kill()  # first: a survivor would hold the output open
    for guarded in running:
        guarded.clear()


def test_a_lost_router_leaves_nothing(run: Run, family: Family) -> None:
    guarded = run(family.argv(*EVERYBODY))
    eventually(family.stands)
    guarded.lifeline.close()
    assert guarded.ends() == 128 + signal.SIGKILL
    assert family.is_gone()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_router_lost_at_any_moment_of_the_start_leaves_nothing(
    run: Run, family: Family, moment: float
) -> None:
    guarded = run(family.argv(*EVERYBODY))
    time.sleep(moment * random.uniform(0.8, 1.2))
    guarded.lifeline.close()
    guarded.ends()
    assert family.is_gone()


def test_what_forks_without_end_is_ended(run: Run, family: Family) -> None:
    guarded = run(family.argv("litter", "child"))
    eventually(family.stands)
    guarded.lifeline.close()
    guarded.ends()
    assert family.is_gone()


def test_a_killed_main_leaves_nothing(run: Run, family: Family) -> None:
    guarded = run(family.argv(*EVERYBODY))
    eventually(family.stands)
    os.kill(family.pid("main"), signal.SIGKILL)
    assert guarded.ends() == 128 + signal.SIGKILL
    assert family.is_gone()


@pytest.mark.parametrize(
    ("trait", "code"), [("exit=0", 0), ("exit=3", 3), ("kill=11", 139), ("kill=6", 134)]
)
def test_it_exits_as_main_did_once_all_are_gone(
    run: Run, family: Family, trait: str, code: int
) -> None:
    guarded = run(family.argv("child", "daemon", trait))
    assert guarded.ends() == code
    assert family.is_gone()


def test_a_killed_guard_takes_main_along(run: Run, family: Family) -> None:
    guarded = run(family.argv("deaf"))
    eventually(family.stands)
    guarded.process.kill()
    eventually(family.is_gone)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_guard_killed_at_any_moment_of_the_start_takes_main_along(
    run: Run, family: Family, moment: float
) -> None:
    guarded = run(family.argv("deaf"))
    time.sleep(moment * random.uniform(0.8, 1.2))
    guarded.process.kill()
    eventually(family.is_gone)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_is_passed_on_to_main(
    run: Run, family: Family, number: signal.Signals
) -> None:
    guarded = run(family.argv("child"))
    eventually(family.stands)
    guarded.process.send_signal(number)
    # Python's own handler turns SIGINT into KeyboardInterrupt, then dies by it.
    assert guarded.ends() == 128 + number
    assert family.is_gone()


def test_an_orphans_quit_signal_does_not_end_the_guard(run: Run, family: Family) -> None:
    guarded = run(family.argv("child"))
    eventually(family.stands)
    guarded.process.send_signal(signal.SIGQUIT)
    guarded.process.send_signal(signal.SIGTERM)  # heard after the other, and obeyed
    assert guarded.ends() == 128 + signal.SIGTERM


def test_the_engine_starts_with_a_clean_slate(run: Run) -> None:
    look = (
        "import os, sys\n"
        "status = dict(l.split(':\t') for l in open('/proc/self/status') if l[:3] == 'Sig')\n"
        "print(os.readlink('/proc/self/fd/0'), sorted(os.listdir('/proc/self/fd'))[:-1],\n"
        "      int(status['SigBlk'], 16), int(status['SigIgn'], 16),\n"
        "      os.getpgid(0) == os.getppid() == os.getsid(0))\n"
    )
    # `sh` shows what was handed down; Python itself ignores SIGPIPE at start.
    guarded = run(
        ["sh", "-c", 'grep SigIgn /proc/self/status; exec $0 -c "$1"', sys.executable, look]
    )
    ignored, rest = guarded.output().decode().splitlines()
    # 32 and 33 are the C library's own: no program can set them, and they are handed on.
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    assert int(ignored.split()[1], 16) & ours == 0
    assert rest.startswith("/dev/null ['0', '1', '2'] 0 ")
    assert rest.endswith("True")


def test_an_engine_that_is_not_there_is_named(run: Run) -> None:
    guarded = run(["/nowhere/python"])
    assert guarded.output() == b"can't start /nowhere/python: No such file or directory\n"
    assert guarded.ends() == 127
