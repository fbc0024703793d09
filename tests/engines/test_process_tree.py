from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.process_tree import MARK, ProcessTree
from tests.engines.trees import eventually

pytestmark = pytest.mark.process

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


def test_the_group_is_in_the_tree_without_the_mark(child: Child) -> None:
    process = child()
    assert ProcessTree(process.pid, "none").alive() == [process.pid]


def test_a_process_that_left_the_group_but_not_the_session_is_in_the_tree(child: Child) -> None:
    leader = child("import os\nif os.fork() == 0: os.setpgid(0, 0)")
    tree = ProcessTree(leader.pid, "none")
    eventually(lambda: len(tree.alive()) == 2)
    tree.kill()
    eventually(lambda: not tree.alive())


def test_a_process_with_the_mark_is_in_the_tree_and_no_other(child: Child) -> None:
    mark = secrets.token_hex(16)  # another run of this test may be in progress
    leader, elsewhere = child(), child(**{MARK: mark})
    child(**{MARK: f"{mark}0"})
    eventually(
        lambda: ProcessTree(leader.pid, mark).alive() == sorted([leader.pid, elsewhere.pid])
    )


def test_a_child_of_a_process_that_ends_during_the_search_is_in_the_tree(child: Child) -> None:
    mark = secrets.token_hex(16)
    leader = child()
    parent = child("import os\nif input() and os.fork(): os._exit(0)", **{MARK: mark})

    class Slow(ProcessTree):
        def _contains(self, entry: Path) -> bool:
            if entry.name == str(parent.pid) and parent.stdin and parent.returncode is None:
                parent.stdin.write(b"now\n")
                parent.stdin.flush()
                parent.wait()
            return super()._contains(entry)

    tree = Slow(leader.pid, mark)
    assert len(tree.alive()) == 2
    tree.kill()
    eventually(lambda: not tree.alive())


def test_the_search_ends_although_others_start_processes_without_end(child: Child) -> None:
    started = [child()]

    class Busy(ProcessTree):
        def _contains(self, entry: Path) -> bool:
            if int(entry.name) == started[-1].pid and len(started) < 100:
                started.append(child())
            return super()._contains(entry)

    assert Busy(started[0].pid, "none").alive() == [started[0].pid]
    assert 1 < len(started) < 100


def test_a_zombie_is_not_in_the_tree(child: Child) -> None:
    process = child()
    tree = ProcessTree(process.pid, "none")
    process.kill()
    eventually(lambda: not tree.alive())
    assert process.returncode is None
