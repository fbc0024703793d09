"""One engine as a process tree: started under a supervisor, logged, and ended as a whole.

No process of the tree survives, whichever dies first. `supervisor.py` handles the death of the
router or the engine; this module handles the death of the supervisor.
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

from engines.output import OutputReader
from engines.process_tree import MARK, ProcessTree
from router.pool.interfaces import Unkillable

SUPERVISOR = Path(__file__).with_name("supervisor.py")
# Seconds for the supervisor to kill its descendants. It knows them best, but may be stuck.
SUPERVISOR_TIMEOUT = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exit:
    """How the engine's main process ended. If both are None, other code took its status."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        return "ended, status unknown" if self.code is None else f"exit status {self.code}"


class EngineProcess:
    """The supervisor, the engine's main process, and all their descendants."""

    def __init__(
        self,
        supervisor: subprocess.Popen[bytes],
        lifeline: socket.socket,
        output: OutputReader,
        tree: ProcessTree,
        kill_after: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._supervisor = supervisor
        self._lifeline = lifeline
        self._output = output
        self._tree = tree
        self._kill_after = kill_after
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._cleanup: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._loop.add_reader(lifeline, self._on_supervisor_exit)

    @classmethod
    async def spawn(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        *,
        hand_down: Sequence[int] = (),
        user: str = "",
        directory: Path | None = None,
        kill_after: float = 10.0,
    ) -> EngineProcess:
        """Start the command `argv` with exactly the environment `env`.

        on_line     is called with each line that the engine prints
        hand_down   open files that the engine's main process inherits under the same numbers
        user        the engine's user; see `supervisor`
        directory   its working directory; None: this process's own
        kill_after  seconds that a process may survive SIGKILL before `stop` raises

        If the command can't be executed, the engine exits with status 127. Raises `OSError`
        if the supervisor can't be started.
        """
        # No await between the fork and the first reference to it: a cancellation there would
        # lose the process.
        mark = secrets.token_hex(16)
        supervisor, lifeline, output = _start_supervisor(
            argv, {**env, MARK: mark}, hand_down, user, directory
        )
        tree = ProcessTree(supervisor.pid, mark)
        return cls(supervisor, lifeline, OutputReader(output, on_line), tree, kill_after)

    @property
    def pid(self) -> int:
        """The supervisor's pid, which is also the id of the process group and session."""
        return self._supervisor.pid

    async def exited(self) -> Exit:
        """Wait until the engine's main process has ended and its output is handled."""
        return await asyncio.shield(self._exit)

    async def stop(self, grace: float) -> None:
        """End the process tree: SIGINT, after half of `grace` seconds SIGTERM, then SIGKILL.

        Returns when no process is left. Raises `Unkillable`; it may then be called again.
        Concurrent calls share one stop, which continues in the background if they are canceled.
        """
        if self._stopping is None or (self._stopping.done() and not self._reaped):
            self._stopping = self._loop.create_task(self._stop(grace))
        await asyncio.shield(self._stopping)

    @property
    def _reaped(self) -> bool:
        return self._supervisor.returncode is not None

    async def _stop(self, grace: float) -> None:
        try:
            if not await self._terminate(grace):
                await self._kill()
            await self._clean_up()
        except Unkillable as error:
            _log.critical("%s", error)  # the caller may have been canceled
            raise

    async def _terminate(self, grace: float) -> bool:
        """Ask the engine to end. False if it did not within `grace` seconds."""
        for request in (signal.SIGINT, signal.SIGTERM):
            if not self._exit.done():
                os.kill(self.pid, request)  # not reaped, so the pid is still its own
            if await self._ends_within(grace / 2):
                return True
        return False

    async def _kill(self) -> None:
        with contextlib.suppress(OSError):  # the supervisor has just ended
            self._lifeline.shutdown(socket.SHUT_WR)
        if await self._ends_within(SUPERVISOR_TIMEOUT):
            return
        self._tree.kill()
        if not await self._ends_within(self._kill_after):
            raise Unkillable(
                f"the supervisor {self.pid} survived SIGKILL for {self._kill_after} s"
            )

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait({self._exit}, timeout=seconds)
        return self._exit.done()

    def _on_supervisor_exit(self) -> None:
        self._loop.remove_reader(self._lifeline)
        self._cleanup = self._loop.create_task(self._after_supervisor())

    async def _clean_up(self) -> None:
        """Wait for the running cleanup; start a new one if the last one failed."""
        if self._cleanup is None or (self._cleanup.done() and not self._reaped):
            self._cleanup = self._loop.create_task(self._after_supervisor())
        await asyncio.shield(self._cleanup)

    async def _after_supervisor(self) -> None:
        """Publish the exit, kill what is left of the tree, and then reap the supervisor.

        Until it is reaped, its pid and the group's id can't be given to other processes.
        """
        # It has closed its files and will be a zombie any moment. No event announces that.
        while (ended := _peek(self.pid)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        self._output.drain()
        if not self._exit.done():
            self._exit.set_result(ended)
        await self._kill_survivors()
        self._reap()

    async def _kill_survivors(self) -> None:
        # The sum of the pauses, and not the clock: while the machine stands still, none ends.
        waited, pause = 0.0, 0.01
        while left := self._tree.kill():
            if waited > self._kill_after:
                raise Unkillable(f"processes {left} survived SIGKILL for {self._kill_after} s")
            await asyncio.sleep(pause)
            waited += pause
            pause = min(2 * pause, 0.25)

    def _reap(self) -> None:
        self._supervisor.wait()  # a zombie: returns at once
        self._lifeline.close()
        self._output.drain()
        self._output.close()


def _start_supervisor(
    argv: Sequence[str],
    env: Mapping[str, str],
    hand_down: Sequence[int],
    user: str,
    directory: Path | None,
) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """Return the supervisor, the router's end of the lifeline, and the output's read end.

    Both ends are closed on exec, which is Python's default: a child with the lifeline open
    would hide the router's death from the supervisor. (A fork without exec does have it open.)
    """
    with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
        lifeline, lifeline_theirs = socket.socketpair()
        on_failure.callback(lifeline.close)
        theirs.callback(lifeline_theirs.close)
        output, output_theirs = os.pipe()
        on_failure.callback(os.close, output)
        theirs.callback(os.close, output_theirs)
        files = ",".join(map(str, hand_down))
        supervisor = subprocess.Popen(  # noqa: S603 - no shell
            [sys.executable, "-I", "-S", str(SUPERVISOR), files, user, *argv],
            stdin=lifeline_theirs.fileno(),
            stdout=output_theirs,
            stderr=output_theirs,
            env=env,
            cwd=directory,
            umask=0o077,
            pass_fds=hand_down,
            start_new_session=True,
        )
        on_failure.pop_all()
    return supervisor, lifeline, output


def _peek(pid: int) -> Exit | None:
    """How a child ended, without reaping it; None if it is alive."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return Exit()
    if ended is None:
        return None
    if ended.si_code != os.CLD_EXITED:
        return Exit(signal=ended.si_status)
    if 0 < ended.si_status - 128 < signal.NSIG:  # the supervisor's way to tell a signal
        return Exit(signal=ended.si_status - 128)
    return Exit(code=ended.si_status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
