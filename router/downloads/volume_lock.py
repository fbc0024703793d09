"""Turns at one directory of a volume, among workers that know nothing of each other.

A volume may lack locks, the clocks of its machines differ, and a worker can be killed or
frozen at any moment. So a lease is a file named by a number, created with O_EXCL: of many
who want the next number one gets it, and the highest number has the turn. Its holder keeps
writing to it. Who waits looks on, and takes the next number once the file says `free`, or
was found unchanged `PATIENCE` times: looks are counted, not seconds, so that a worker that
was frozen itself looks again before it judges. A number is never used twice, because the
last file stays; so whoever took the wrong one for dead disturbs nobody who came later, and
a holder that comes back to life finds a higher number than its own.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30  # looks
_FREE = "free"
_LENGTH = 64  # bytes; all states are of one length, since they are written in place


class Overtaken(Exception):
    """Others took this holder for dead: the turn is theirs."""


@dataclass(frozen=True, slots=True)
class VolumeLock:
    """The turn of `owner`, a name without spaces that nobody else has."""

    folder: Path
    number: int
    owner: str
    after_a_death: bool = False  # the one before did not free it

    @classmethod
    def of(cls, folder: Path, owner: str) -> VolumeLock | None:
        """The lease that `owner` has now, if it has one."""
        latest = _latest(folder)
        held = latest > 0 and _read(folder, latest).split(" ")[0] == owner
        return cls(folder, latest, owner) if held else None

    def beat(self) -> None:
        """Show life. Raises `Overtaken`."""
        try:
            _write(self.folder / str(self.number), f"{self.owner} {secrets.token_hex(8)}")
        except FileNotFoundError:
            raise Overtaken from None
        if _latest(self.folder) != self.number:
            raise Overtaken

    def age_of(self, path: Path) -> float:
        """Seconds from the last write to `path` to this lease's, by the volume's clock."""
        return (self.folder / str(self.number)).stat().st_mtime - path.stat().st_mtime

    def free(self) -> None:
        """Give the turn to whoever wants it. Safe to call again, and when overtaken."""
        try:
            _write(self.folder / str(self.number), _FREE)
        except FileNotFoundError:
            return


class Queue:
    """One who wants the lease of a directory."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder
        self._owner = owner
        self._seen = (0, "")
        self._unchanged = 0  # looks

    def look(self) -> VolumeLock | None:
        """Take the lease if it is nobody's, or its holder has shown no life for long."""
        latest = _latest(self._folder)
        state = _read(self._folder, latest) if latest else _FREE
        dead = state != _FREE
        if dead and not self._gave_up((latest, state)):
            return None
        return self._take(latest + 1, after_a_death=dead)

    def _gave_up(self, seen: tuple[int, str]) -> bool:
        self._unchanged = self._unchanged + 1 if seen == self._seen else 0
        self._seen = seen
        return self._unchanged >= PATIENCE

    def _take(self, number: int, *, after_a_death: bool) -> VolumeLock | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / str(number)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o664))
        except FileExistsError:
            return None
        lease = VolumeLock(self._folder, number, self._owner, after_a_death)
        try:
            lease.beat()
        except Overtaken:  # the numbers went on while this worker was held up
            path.unlink(missing_ok=True)
            return None
        except OSError:  # a full disk: nobody is to wait for a holder that there is not
            path.unlink(missing_ok=True)
            raise
        for older in _numbers(self._folder):
            if older < number:
                (self._folder / str(older)).unlink(missing_ok=True)
        return lease


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return []


def _latest(folder: Path) -> int:
    return max(_numbers(folder), default=0)


def _read(folder: Path, number: int) -> str:
    """What a holder wrote last; nothing where it has just created or lost its file."""
    try:
        return (folder / str(number)).read_text().rstrip()
    except FileNotFoundError:
        return ""


def _write(path: Path, state: str) -> None:
    """In place, and never a file that is not there: it is gone for those who were overtaken."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, state.ljust(_LENGTH).encode())
    finally:
        os.close(file)
