"""Turns by numbered files, taken by threads of one test and by processes that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.downloads.volume_lock import PATIENCE, Overtaken, Queue, VolumeLock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases" / "models--org--model"


def take(folder: Path, owner: str) -> VolumeLock:
    lease = Queue(folder, owner).look()
    assert lease is not None
    return lease


def test_who_comes_first_has_it_and_the_next_when_it_is_freed(folder: Path) -> None:
    first, second = take(folder, "first"), Queue(folder, "second")
    assert second.look() is None
    assert VolumeLock.of(folder, "first") == first
    assert VolumeLock.of(folder, "second") is None
    first.free()
    assert VolumeLock.of(folder, "first") is None
    lease = second.look()
    assert lease
    assert not lease.after_a_death


def test_a_number_is_had_by_one(folder: Path) -> None:
    first, second = Queue(folder, "first"), Queue(folder, "second")
    # Both found the folder empty, and each wants the first number.
    assert first._take(1, after_a_death=False)
    assert second._take(1, after_a_death=False) is None
    assert VolumeLock.of(folder, "first")


def test_a_holder_that_shows_life_is_never_overtaken(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), Queue(folder, "waiter")
    for _ in range(3):
        for _ in range(PATIENCE):
            assert waiter.look() is None
        holder.beat()


def test_a_silent_holder_is_overtaken_after_so_many_looks_and_finds_out(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), Queue(folder, "waiter")
    assert [waiter.look() for _ in range(PATIENCE)] == [None] * PATIENCE
    lease = waiter.look()
    assert lease
    assert lease.after_a_death
    with pytest.raises(Overtaken):
        holder.beat()
    holder.free()
    lease.beat()


def test_a_clock_that_is_wrong_by_a_day_changes_nothing(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), Queue(folder, "waiter")
    (file,) = folder.iterdir()
    os.utime(file, (time.time() - 86_400, time.time() - 86_400))
    assert waiter.look() is None
    holder.beat()


def test_who_judged_the_dead_too_slowly_disturbs_nobody_who_came_later(folder: Path) -> None:
    take(folder, "dead")
    slow, quick = Queue(folder, "slow"), Queue(folder, "quick")
    for _ in range(PATIENCE):
        slow.look()
        quick.look()
    late = take_from(quick)
    late.free()
    holder = take(folder, "holder")
    # Here `slow`, which has long made up its mind about number 1, comes to life.
    assert slow._take(2, after_a_death=True) is None
    holder.beat()
    assert VolumeLock.of(folder, "holder") == holder


def take_from(queue: Queue) -> VolumeLock:
    lease = queue.look()
    assert lease
    return lease


def test_the_volume_keeps_one_small_file(folder: Path) -> None:
    for _ in range(5):
        take(folder, "holder").free()
    assert [file.name for file in folder.iterdir()] == ["5"]


WITHOUT_SPACE = """
import resource, sys
from pathlib import Path
from router.downloads.volume_lock import Queue

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    Queue(Path(sys.argv[1]), "holder").look()
except OSError:
    sys.exit(7)
"""


def test_a_holder_without_space_for_its_name_leaves_no_file(folder: Path) -> None:
    process = subprocess.run([sys.executable, "-c", WITHOUT_SPACE, str(folder)], check=False)
    assert process.returncode == 7
    assert not list(folder.iterdir())


CONTENDER = """
import os, sys, time
from pathlib import Path
from router.downloads.volume_lock import Queue

folder, journal, turns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
out = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for turn in range(turns):
    # A new queue at each look: here nobody is ever taken for dead.
    while (lease := Queue(folder, f"{os.getpid()}-{turn}").look()) is None:
        pass
    os.write(out, b"in %d\\n" % os.getpid())
    time.sleep(0.001)
    lease.beat()
    os.write(out, b"out %d\\n" % os.getpid())
    lease.free()
"""


def test_of_many_processes_one_has_it_at_a_time(folder: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = [sys.executable, "-c", CONTENDER, str(folder), str(journal), "40"]
    processes = [subprocess.Popen(command) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    lines = journal.read_text().splitlines()
    assert len(lines) == 5 * 40 * 2
    for entry, leave in zip(lines[::2], lines[1::2], strict=True):
        assert (entry.split()[0], leave.split()[0]) == ("in", "out")
        assert entry.split()[1] == leave.split()[1]


HOLDER = """
import sys, time
from pathlib import Path
from router.downloads.volume_lock import Queue

lease = Queue(Path(sys.argv[1]), "holder").look()
print(flush=True)
while True:
    lease.beat()
    time.sleep(0.01)
"""


def test_the_turn_of_a_killed_process_goes_to_one_other(folder: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    queues = [Queue(folder, f"waiter-{n}") for n in range(4)]
    got = [lease for _ in range(PATIENCE + 5) for queue in queues if (lease := queue.look())]
    assert len(got) == 1
