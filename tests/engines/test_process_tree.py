from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from engines.process_tree import MARK, Kin
from tests.engines.kinship import eventually

Child = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def child() -> Iterator[Child]:
    children: list[subprocess.Popen[bytes]] = []

    def start(code: str = "", **env: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", "-c", f"{code}\ninput()"]
        pipe = subprocess.PIPE
        children.append(subprocess.Popen(argv, env=env, stdin=pipe, start_new_session=True))
        return children[-1]

    yield start
    for process in children:
        process.kill()
        process.communicate()


def test_the_group_is_kin_though_it_bears_no_mark(child: Child) -> None:
    process = child()
    assert Kin(process.pid, "none").alive() == [process.pid]


def test_who_left_the_group_within_the_session_is_kin(child: Child) -> None:
    leader = child("import os\nif os.fork() == 0: os.setpgid(0, 0)")
    kin = Kin(leader.pid, "none")
    eventually(lambda: len(kin.alive()) == 2)
    kin.kill()
    eventually(lambda: not kin.alive())


def test_who_bears_the_mark_is_kin_and_no_other(child: Child) -> None:
    mark = secrets.token_hex(16)  # other runs of this test may be under way
    leader, elsewhere = child(), child(**{MARK: mark})
    child(**{MARK: f"{mark}0"})
    eventually(lambda: Kin(leader.pid, mark).alive() == sorted([leader.pid, elsewhere.pid]))


def test_a_zombie_is_nobody(child: Child) -> None:
    process = child()
    kin = Kin(process.pid, "none")
    process.kill()
    eventually(lambda: not kin.alive())
    assert process.returncode is None
