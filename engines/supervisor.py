"""A tiny parent for one engine: whoever dies, nothing of the engine stays behind.

`engines.process` runs it as `python -I -S supervisor.py ENGINE-ARGV...` (this file alone, the
standard library alone), as leader of a new session and process group in which the engine
lives too. It is bound in three directions:

- up: standard input is the lifeline, a socket whose other end only the router holds. Its
  end of file means that the router is gone, however it died: everything is killed.
- down: as a subreaper the guard inherits every orphan among its descendants, also those
  that left the group by setsid(), so it can find them all; when the engine's main process
  ends it kills the others and exits as main did: the exit code, or 128 + the signal.
- sideways: when the guard itself is killed, the kernel kills main (PR_SET_PDEATHSIG) and
  the router the rest. Should the router be killed in that same moment, what main started
  may survive: nobody is left who could know of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

LIFELINE = 0
# After this long, in seconds, what still lives is stuck in the kernel with SIGKILL pending.
# The guard leaves, so that the router learns how main ended.
SWEEP_FOR = 5.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM})
# An orphaned scheduler of SGLang sends SIGQUIT to its new parent, which is the guard.
_SWALLOWED = frozenset({signal.SIGQUIT, signal.SIGHUP})
_HEARD = _FORWARDED | _SWALLOWED | {signal.SIGCHLD}


class Guard:
    """The engine's main process, and how it ended once it has."""

    def __init__(self, argv: list[str]) -> None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._wake = _hear()
        self._engine = _fork(argv)
        self._status: int | None = None

    def watch(self) -> None:
        """Return when the router is gone or main has ended."""
        while self._status is None:
            ready, _, _ = select.select([LIFELINE, self._wake], [], [])
            if LIFELINE in ready:
                return
            for number in os.read(self._wake, 512):
                if number in _FORWARDED:
                    os.kill(self._engine, number)  # not reaped yet, so the number is its own
            self._reap()

    def sweep(self) -> None:
        """Kill all descendants, again and again: a dying one may just have forked.

        No child, dead or alive, means no descendant: a subreaper inherits the orphans.
        """
        give_up = time.monotonic() + SWEEP_FOR
        while time.monotonic() < give_up:
            for pid in _descendants():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not self._reap():
                return
            if select.select([self._wake], [], [], 0.05)[0]:
                os.read(self._wake, 512)

    @property
    def exit_code(self) -> int:
        if self._status is None:
            return 128 + signal.SIGKILL
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _reap(self) -> bool:
        """Collect the dead; False where no child is left."""
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0]:
                if dead[0] == self._engine:
                    self._status = dead[1]
        except ChildProcessError:
            return False
        return True


def _hear() -> int:
    """Make signals readable: one byte each, the signal's number."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _HEARD:
        signal.signal(number, _heard)
    return readable


def _heard(_signal: int, _frame: FrameType | None) -> None:
    pass  # a handler, not SIG_IGN: exec would hand an ignored signal down to the engine


def _fork(argv: list[str]) -> int:
    guard = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    pid = os.fork()
    if pid == 0:
        _become(argv, guard)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    return pid


def _become(argv: list[str], guard: int) -> NoReturn:
    """Turn this fork into the engine."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the line above
            os._exit(128 + signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
        for number in (*_HEARD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"can't start {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)  # whatever went wrong: never a second guard


def _descendants() -> list[int]:
    """Read the process table. /proc/PID/task/*/children would do, but many kernels lack it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib doubles the guard's start-up
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                # The command's name may hold spaces and parentheses: read after the last one.
                parent = int(stat.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = children.get(os.getpid(), [])
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def main() -> int:
    guard = Guard(sys.argv[1:])
    guard.watch()
    guard.sweep()
    return guard.exit_code


if __name__ == "__main__":
    sys.exit(main())
