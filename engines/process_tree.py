"""Which processes belong to an engine, by the process table alone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "ENGINE_MARK"  # in the environment of an engine and, by inheritance, its children


@dataclass(frozen=True, slots=True)
class Kin:
    """Everything that runs in a group or its session, or carries the mark.

    The mark finds what left the session by setsid(), unless it overwrote its environment
    as setproctitle does: it is the last resort for when the guard, which finds these by
    descent, was killed. SGLang's processes stay in the group.
    `group` must be held, by an unreaped leader, against being used again.
    """

    group: int
    mark: str

    def alive(self) -> list[int]:
        """Zombies don't count: they hold nothing, and not every container reaps them."""
        return [int(entry.name) for entry in _processes() if self._is_kin(entry)]

    def kill(self) -> list[int]:
        """Send SIGKILL to all; return those that lived."""
        # One call for the whole group leaves no gap for a fork, as one pid at a time would.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        found = self.alive()
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _is_kin(self, entry: Path) -> bool:
        try:
            # The command's name may hold spaces and parentheses: read after the last one.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            state, group, session = fields[0], int(fields[2]), int(fields[3])
            if state in {b"Z", b"X"}:
                return False
            if self.group in {group, session}:
                return True
            environment = (entry / "environ").read_bytes().split(b"\0")
            return f"{MARK}={self.mark}".encode() in environment
        except OSError:  # it has ended, or is another user's
            return False


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
