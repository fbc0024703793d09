"""A small parent process for one engine. It makes sure that no process of the engine survives.

`engines.process` runs it as `python -I -S supervisor.py FILES USER ENGINE-ARGV...`, so it can
import only the standard library. FILES are the numbers of open files, separated by commas;
only the main process keeps these files. USER is that process's user: `UID:GID`, `bare` (the
same user, without capabilities), or empty (the router's user). The supervisor leads a new
session and process group, which includes the engine's main process. It keeps the router's
user, so the engine can't touch it. It handles three deaths:

The router dies       Standard input is a socket, the lifeline. Only the router holds its
                      other end. At end of file, the supervisor kills everything.
The engine dies       As a subreaper, the supervisor inherits all orphaned descendants,
                      including those that left the group with setsid(). When the main process
                      ends, it kills the others and exits the same way: with the main process's
                      exit code, or 128 + the signal that killed it.
The supervisor dies   The kernel kills the main process (PR_SET_PDEATHSIG), and the router
                      kills the rest. If the router is killed at the same moment, descendants
                      of the main process may survive.
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
# Seconds. A process that is still alive is stuck in the kernel with SIGKILL pending. The
# supervisor exits anyway, so that the router learns how the main process ended.
KILL_TIMEOUT = 5.0
_KILL_PAUSE = 0.05  # seconds between two kills, if no process ends meanwhile
_LONGEST_ROUND = 2 * _KILL_PAUSE  # seconds that count; in the rest, the machine stood still

BARE = "bare"

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECUREBITS = 28
_SECBIT_NOROOT, _SECBIT_NOROOT_LOCKED = 1, 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36

_FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM})
# An orphaned scheduler of SGLang sends SIGQUIT to its new parent, the supervisor.
_IGNORED = frozenset({signal.SIGQUIT, signal.SIGHUP})
_HANDLED = _FORWARDED | _IGNORED | {signal.SIGCHLD}


class Supervisor:
    """The engine's main process, and its exit status once it has ended."""

    def __init__(self, files: list[int], user: str, argv: list[str]) -> None:
        _prctl(_PR_SET_DUMPABLE, 0)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._signals = _signal_pipe()
        self._engine = _fork(user, argv)
        for file in files:
            os.close(file)  # a port that the supervisor holds open would outlive the engine
        self._status: int | None = None

    def watch(self) -> None:
        """Forward signals; return when the router or the main process has ended."""
        while self._status is None:
            ready, _, _ = select.select([LIFELINE, self._signals], [], [])
            if LIFELINE in ready:
                return
            for number in os.read(self._signals, 512):
                if number in _FORWARDED:
                    os.kill(self._engine, number)  # not reaped yet, so the pid is still its own
            self._reap()

    def sweep(self) -> None:
        """Kill all descendants, repeatedly, because a dying process may have just forked.

        When the supervisor has no child left, it has no descendants left, because a
        subreaper inherits all orphans. A machine that stands still does not use up the time,
        and processes that fork without end do.
        """
        left, began = KILL_TIMEOUT, time.monotonic()
        while left > 0:
            for pid in _descendants():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not self._reap():
                return
            if select.select([self._signals], [], [], _KILL_PAUSE)[0]:
                os.read(self._signals, 512)
            now = time.monotonic()
            left, began = left - min(now - began, _LONGEST_ROUND), now

    @property
    def exit_code(self) -> int:
        if self._status is None:
            return 128 + signal.SIGKILL
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _reap(self) -> bool:
        """Reap all zombies. False if no child is left."""
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0]:
                if dead[0] == self._engine:
                    self._status = dead[1]
        except ChildProcessError:
            return False
        return True


def _signal_pipe() -> int:
    """A file descriptor that yields one byte per signal: its number."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _HANDLED:
        signal.signal(number, _do_nothing)
    return readable


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    pass  # a handler and not SIG_IGN, because the engine would inherit an ignored signal


def _fork(user: str, argv: list[str]) -> int:
    supervisor = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    pid = os.fork()
    if pid == 0:
        _become_engine(user, argv, supervisor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    return pid


def _become_engine(user: str, argv: list[str], supervisor: int) -> NoReturn:
    """Execute the engine in this forked child."""
    try:
        _become(user)  # first: a change of user resets PR_SET_PDEATHSIG
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # the supervisor died before the line above
            os._exit(128 + signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
        for number in (*_HANDLED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"can't start {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)  # after any error, so that there is never a second supervisor


def _become(user: str) -> None:
    """Give up the rights that the engine must not have, even through a set-uid file."""
    if user == BARE:
        # Root's files stay readable, but no program that root starts has capabilities.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NOROOT | _SECBIT_NOROOT_LOCKED)
    elif user:
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _descendants() -> list[int]:
    """All descendants, from the process table: many kernels lack /proc/PID/task/*/children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the startup time
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                # The command's name may contain spaces and parentheses.
                parent = int(stat.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = children.get(os.getpid(), [])
    for pid in found:  # the list grows during the loop
        found += children.get(pid, [])
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def main() -> int:
    _, files, user, *argv = sys.argv
    supervisor = Supervisor([int(file) for file in files.split(",") if file], user, argv)
    supervisor.watch()
    supervisor.sweep()
    return supervisor.exit_code


if __name__ == "__main__":
    sys.exit(main())
