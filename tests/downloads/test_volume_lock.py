"""The lock, held by threads of one test and by processes that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.downloads.volume_lock import DEAD_AFTER_POLLS, LockContender, LockLost, VolumeLock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "models--org--model"


def take(folder: Path, owner: str) -> VolumeLock:
    lock = LockContender(folder, owner).poll()
    assert lock is not None
    return lock


def test_the_first_worker_gets_the_lock_and_the_next_one_after_its_release(
    folder: Path,
) -> None:
    first, second = take(folder, "first"), LockContender(folder, "second")
    assert second.poll() is None
    assert VolumeLock.held_by("first", folder) == first
    assert VolumeLock.held_by("second", folder) is None
    first.release()
    assert VolumeLock.held_by("first", folder) is None
    lock = second.poll()
    assert lock
    assert not lock.previous_holder_died


def test_only_one_worker_gets_a_number(folder: Path) -> None:
    first, second = LockContender(folder, "first"), LockContender(folder, "second")
    # Both found the folder empty, and both want the first number.
    assert first._take(1, previous_holder_died=False)
    assert second._take(1, previous_holder_died=False) is None
    assert VolumeLock.held_by("first", folder)


def test_a_holder_with_a_heartbeat_never_loses_the_lock(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), LockContender(folder, "waiter")
    for _ in range(3):
        for _ in range(DEAD_AFTER_POLLS):
            assert waiter.poll() is None
        holder.heartbeat()


def test_a_silent_holder_loses_the_lock_after_enough_polls_and_finds_out(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), LockContender(folder, "waiter")
    assert [waiter.poll() for _ in range(DEAD_AFTER_POLLS)] == [None] * DEAD_AFTER_POLLS
    lock = waiter.poll()
    assert lock
    assert lock.previous_holder_died
    with pytest.raises(LockLost):
        holder.heartbeat()
    holder.release()
    lock.heartbeat()


def test_a_clock_that_is_wrong_by_a_day_changes_nothing(folder: Path) -> None:
    holder, waiter = take(folder, "holder"), LockContender(folder, "waiter")
    (file,) = folder.iterdir()
    os.utime(file, (time.time() - 86_400, time.time() - 86_400))
    assert waiter.poll() is None
    holder.heartbeat()


def test_a_slow_contender_does_not_disturb_a_later_holder(folder: Path) -> None:
    take(folder, "dead")
    slow, quick = LockContender(folder, "slow"), LockContender(folder, "quick")
    for _ in range(DEAD_AFTER_POLLS):
        slow.poll()
        quick.poll()
    late = take_from(quick)
    late.release()
    holder = take(folder, "holder")
    # Only now does `slow` act on its verdict that the holder of number 1 is dead.
    assert slow._take(2, previous_holder_died=True) is None
    holder.heartbeat()
    assert VolumeLock.held_by("holder", folder) == holder


def take_from(contender: LockContender) -> VolumeLock:
    lock = contender.poll()
    assert lock
    return lock


def test_the_volume_keeps_one_small_file(folder: Path) -> None:
    for _ in range(5):
        take(folder, "holder").release()
    assert [file.name for file in folder.iterdir()] == ["5"]


WITHOUT_SPACE = """
import resource, sys
from pathlib import Path
from router.downloads.volume_lock import LockContender

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    LockContender(Path(sys.argv[1]), "holder").poll()
except OSError:
    sys.exit(7)
"""


@pytest.mark.process
def test_a_holder_without_space_for_its_name_leaves_no_file(folder: Path) -> None:
    process = subprocess.run([sys.executable, "-c", WITHOUT_SPACE, str(folder)], check=False)
    assert process.returncode == 7
    assert not list(folder.iterdir())


CONTENDER = """
import os, sys, time
from pathlib import Path
from router.downloads.volume_lock import LockContender

folder, journal, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
out = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for round_ in range(rounds):
    # A new contender at each poll, so that no holder is ever declared dead.
    while (lock := LockContender(folder, f"{os.getpid()}-{round_}").poll()) is None:
        pass
    os.write(out, b"in %d\\n" % os.getpid())
    time.sleep(0.001)
    lock.heartbeat()
    os.write(out, b"out %d\\n" % os.getpid())
    lock.release()
"""


@pytest.mark.process
def test_one_of_many_processes_holds_the_lock_at_a_time(folder: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = [sys.executable, "-c", CONTENDER, str(folder), str(journal), "40"]
    processes = [subprocess.Popen(command) for _ in range(5)]
    assert [process.wait(90) for process in processes] == [0] * 5
    lines = journal.read_text().splitlines()
    assert len(lines) == 5 * 40 * 2
    for entry, leave in zip(lines[::2], lines[1::2], strict=True):
        assert (entry.split()[0], leave.split()[0]) == ("in", "out")
        assert entry.split()[1] == leave.split()[1]


HOLDER = """
import sys, time
from pathlib import Path
from router.downloads.volume_lock import LockContender

lock = LockContender(Path(sys.argv[1]), "holder").poll()
print(flush=True)
while True:
    lock.heartbeat()
    time.sleep(0.01)
"""


@pytest.mark.process
def test_the_lock_of_a_killed_process_goes_to_one_other(folder: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    contenders = [LockContender(folder, f"waiter-{n}") for n in range(4)]
    got = [
        lock for _ in range(DEAD_AFTER_POLLS + 5) for one in contenders if (lock := one.poll())
    ]
    assert len(got) == 1
