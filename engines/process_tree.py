"""Finds and kills the processes of one engine, from the process table."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

# A variable in the environment of an engine. Its child processes inherit it.
MARK = "ENGINE_MARK"
_SEARCHES = 10


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """All processes in one process group or its session, or with one value of `MARK`.

    `group` is the pid of the group's leader. Do not reap the leader while this object is in
    use: the kernel could give its pid to another process.

    SGLang's processes stay in the group. The mark finds a process that left the session
    (setsid), unless it overwrote its environment, as setproctitle does. The supervisor finds
    such processes by descent; the mark is needed if the supervisor was killed.
    """

    group: int
    mark: str

    def alive(self) -> list[int]:
        """The pids of all processes in the tree, without zombies.

        A zombie holds no resources, and not every container reaps them.

        A process that ends during the search may leave a child that is not on a list made
        before. So the search goes on until a list has no new process, but not for long: an
        engine may fork without end.
        """
        found: list[int] = []
        seen: set[str] = set()
        for _ in range(_SEARCHES):
            new = _processes() - seen
            if not new:
                break
            seen |= new
            found += [int(name) for name in new if self._contains(Path("/proc", name))]
        return sorted(found)

    def kill(self) -> list[int]:
        """Send SIGKILL to all processes in the tree. Returns the pids that were alive."""
        # First the whole group at once, so that no process can fork between two signals.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        found = self.alive()
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _contains(self, entry: Path) -> bool:
        try:
            # The command's name may contain spaces and parentheses: read after the last one.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            state, group, session = fields[0], int(fields[2]), int(fields[3])
            if state in {b"Z", b"X"}:
                return False
            if self.group in {group, session}:
                return True
            environment = (entry / "environ").read_bytes().split(b"\0")
            return f"{MARK}={self.mark}".encode() in environment
        except OSError:  # it has ended, or belongs to another user
            return False


def _processes() -> set[str]:
    return {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()}
