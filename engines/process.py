"""One engine as a family of processes: started under a guard, logged, ended as a whole.

Whatever dies, nothing of the family survives: supervisor.py answers for the death of the router
and of the engine, this module for the death of the guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.output import LogPump
from engines.process_tree import MARK, Kin
from router.pool.interfaces import Unkillable

GUARD = Path(__file__).with_name("supervisor.py")
# Seconds that the guard gets to kill its descendants; it knows them best, but may be stuck.
GUARD_SWEEP = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exit:
    """How the engine's main process ended. Both None: somebody else collected its status."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        return "ended, status unknown" if self.code is None else f"exit status {self.code}"


class EngineProcess:
    """The guard, the engine's main process, and all that these start."""

    def __init__(
        self,
        guard: subprocess.Popen[bytes],
        lifeline: socket.socket,
        log: LogPump,
        kin: Kin,
        patience: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._lifeline = lifeline
        self._log = log
        self._kin = kin
        self._patience = patience
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._burial: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._loop.add_reader(lifeline, self._guard_gone)

    @classmethod
    async def spawn(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        *,
        kill_after: float = 10.0,
    ) -> EngineProcess:
        """Start `argv` with exactly `env`, and `on_line` for each line that it prints.

        `kill_after` is how many seconds the family may survive SIGKILL before `stop`
        calls it unkillable. Raises `OSError` where not even the guard could be started;
        an engine that could not be started exits with status 127.
        """
        # No await, so no cancellation, between the fork and the first reference to it.
        mark = secrets.token_hex(16)
        guard, lifeline, log = _start_guard(argv, {**env, MARK: mark})
        kin = Kin(guard.pid, mark)
        return cls(guard, lifeline, LogPump(log, on_line), kin, kill_after)

    @property
    def pid(self) -> int:
        """The guard's pid, which is the id of the group and of the session."""
        return self._guard.pid

    @property
    def tail(self) -> list[str]:
        """The last lines of the log, oldest first."""
        return list(self._log.tail)

    async def exited(self) -> Exit:
        """Wait until the engine's main process has ended; `tail` is complete by then."""
        return await asyncio.shield(self._exit)

    async def stop(self, grace: float) -> None:
        """End the family: ask by SIGINT, at half of `grace` seconds by SIGTERM, then kill.

        Returns when none of it is left; raises `Unkillable`, and may then be called again.
        Calls join the first one, which goes on where its caller is cancelled.
        """
        if self._stopping is None or (self._stopping.done() and not self._is_gone):
            self._stopping = self._loop.create_task(self._stop(grace))
        await asyncio.shield(self._stopping)

    @property
    def _is_gone(self) -> bool:
        return self._guard.returncode is not None

    async def _stop(self, grace: float) -> None:
        try:
            if not await self._asked_to_end(grace):
                await self._made_to_end()
            await self._buried()
        except Unkillable as error:
            _log.critical("%s", error)  # the caller may be gone
            raise

    async def _asked_to_end(self, grace: float) -> bool:
        for request in (signal.SIGINT, signal.SIGTERM):
            if not self._exit.done():
                os.kill(self.pid, request)  # unreaped, so the number is its own
            if await self._ends_within(grace / 2):
                return True
        return False

    async def _made_to_end(self) -> None:
        with contextlib.suppress(OSError):  # the guard has just gone
            self._lifeline.shutdown(socket.SHUT_WR)
        if await self._ends_within(GUARD_SWEEP):
            return
        self._kin.kill()
        if not await self._ends_within(self._patience):
            raise Unkillable(f"the guard {self.pid} survived SIGKILL for {self._patience} s")

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait({self._exit}, timeout=seconds)
        return self._exit.done()

    def _guard_gone(self) -> None:
        self._loop.remove_reader(self._lifeline)
        self._burial = self._loop.create_task(self._bury())

    async def _buried(self) -> None:
        if self._burial is None or (self._burial.done() and not self._is_gone):
            self._burial = self._loop.create_task(self._bury())
        await asyncio.shield(self._burial)

    async def _bury(self) -> None:
        """After the guard's end: tell it, kill what is left, and only then reap the guard.

        Until it is reaped its pid, and with it the group's id, can't be used again.
        """
        # It has closed its files and is a zombie in a moment, which no event tells.
        while (ended := _peek(self.pid)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        self._log.drain()
        if not self._exit.done():
            self._exit.set_result(ended)
        await self._sweep()
        self._reap()

    async def _sweep(self) -> None:
        deadline = self._loop.time() + self._patience
        pause = 0.01
        while left := self._kin.kill():
            if self._loop.time() > deadline:
                raise Unkillable(f"processes {left} survived SIGKILL for {self._patience} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _reap(self) -> None:
        self._guard.wait()  # a zombie: returns at once
        self._lifeline.close()
        self._log.drain()
        self._log.close()


def _start_guard(
    argv: Sequence[str], env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """Return the guard, our end of its lifeline, and the end of its log to read from.

    Both are closed on exec, Python's default: a child that held the lifeline would keep
    the guard from seeing this process die. A fork without exec does hold it.
    """
    with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
        lifeline, lifeline_theirs = socket.socketpair()
        on_failure.callback(lifeline.close)
        theirs.callback(lifeline_theirs.close)
        log, log_theirs = os.pipe()
        on_failure.callback(os.close, log)
        theirs.callback(os.close, log_theirs)
        guard = subprocess.Popen(  # noqa: S603 - no shell
            [sys.executable, "-I", "-S", str(GUARD), *argv],
            stdin=lifeline_theirs.fileno(),
            stdout=log_theirs,
            stderr=log_theirs,
            env=env,
            start_new_session=True,
        )
        on_failure.pop_all()
    return guard, lifeline, log


def _peek(pid: int) -> Exit | None:
    """How a child ended, leaving it unreaped; None while it lives."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return Exit()
    if ended is None:
        return None
    if ended.si_code != os.CLD_EXITED:
        return Exit(signal=ended.si_status)
    if ended.si_status > 128:
        return Exit(signal=ended.si_status - 128)
    return Exit(code=ended.si_status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
