"""A lock on one directory of a shared volume, for workers that can't talk to each other.

The volume may lack `flock`, the clocks of its machines may differ, and a worker can be killed
or frozen at any moment. The lock therefore works with numbered files:

- To take the lock, a worker creates the file with the next number (`O_EXCL`, so only one
  worker succeeds). The file with the highest number is the lock.
- The holder keeps rewriting its file, as a heartbeat, and writes `free` to release it.
- A contender polls the file. It may take the next number when the file says `free`, or when
  it was unchanged for `DEAD_AFTER_POLLS` polls. Polls are counted, not seconds, so that a
  contender that was frozen itself polls again before it declares the holder dead.
- The last file is never deleted, so no number is used twice. A holder that was wrongly
  declared dead finds a higher number than its own, and stops. A slow contender finds that its
  number is taken.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

DEAD_AFTER_POLLS = 30
_FREE = "free"
_STATE_LENGTH = 64  # bytes; states are written in place, so all have the same length


class LockLost(Exception):
    """Another worker declared this holder dead and took the lock."""


@dataclass(frozen=True, slots=True)
class VolumeLock:
    """The lock on `folder`, held by `owner`, which is a unique name without spaces."""

    folder: Path
    number: int
    owner: str
    previous_holder_died: bool = False  # declared dead, without a release

    @classmethod
    def held_by(cls, owner: str, folder: Path) -> VolumeLock | None:
        """The lock on `folder` if `owner` holds it now, else None."""
        latest = _latest(folder)
        held = latest > 0 and _read(folder, latest).split(" ")[0] == owner
        return cls(folder, latest, owner) if held else None

    def heartbeat(self) -> None:
        """Show other workers that this holder is alive. Raises `LockLost`, `OSError`."""
        try:
            _write(self.folder / str(self.number), f"{self.owner} {secrets.token_hex(8)}")
        except FileNotFoundError:
            raise LockLost from None
        if _latest(self.folder) != self.number:
            raise LockLost

    def age_of(self, path: Path) -> float:
        """Seconds between the last write to `path` and the last heartbeat.

        Both times come from the volume, so this machine's clock does not matter.
        """
        return (self.folder / str(self.number)).stat().st_mtime - path.stat().st_mtime

    def release(self) -> None:
        """Let other workers take the lock. Safe to call again, and when the lock was lost."""
        try:
            _write(self.folder / str(self.number), _FREE)
        except FileNotFoundError:
            return


class LockContender:
    """One worker's attempt to get the lock on a directory."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder
        self._owner = owner
        self._seen = (0, "")  # number and state at the last poll
        self._unchanged_polls = 0

    def poll(self) -> VolumeLock | None:
        """Take the lock if it is free or its holder is dead, else return None."""
        latest = _latest(self._folder)
        state = _read(self._folder, latest) if latest else _FREE
        held = state != _FREE
        if held and not self._is_dead((latest, state)):
            return None
        return self._take(latest + 1, previous_holder_died=held)

    def _is_dead(self, seen: tuple[int, str]) -> bool:
        self._unchanged_polls = self._unchanged_polls + 1 if seen == self._seen else 0
        self._seen = seen
        return self._unchanged_polls >= DEAD_AFTER_POLLS

    def _take(self, number: int, *, previous_holder_died: bool) -> VolumeLock | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / str(number)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o664))
        except FileExistsError:
            return None
        lock = VolumeLock(self._folder, number, self._owner, previous_holder_died)
        try:
            lock.heartbeat()
        except LockLost:  # this worker was slow, and others took higher numbers
            path.unlink(missing_ok=True)
            return None
        except OSError:  # for example a full disk: leave no file for others to wait for
            path.unlink(missing_ok=True)
            raise
        for older in _numbers(self._folder):
            if older < number:
                (self._folder / str(older)).unlink(missing_ok=True)
        return lock


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return []


def _latest(folder: Path) -> int:
    return max(_numbers(folder), default=0)


def _read(folder: Path, number: int) -> str:
    """The state that the holder last wrote; empty if its file is new or gone."""
    try:
        return (folder / str(number)).read_text().rstrip()
    except FileNotFoundError:
        return ""


def _write(path: Path, state: str) -> None:
    """Overwrite in place. Never creates the file: a missing one means the lock was lost."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, state.ljust(_STATE_LENGTH).encode())
    finally:
        os.close(file)
