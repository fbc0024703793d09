"""Runs pure functions in separate processes, so that the event loop stays free.

A thread would not help: most of this work is one long call that holds the GIL. Data go only
through pipes, because they may contain a token. They go in pieces, because copying 32 MiB at
once would block the loop for about 10 ms.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar, cast

from router.errors import RouterError
from router.tasks import finish

_log = logging.getLogger(__name__)

T = TypeVar("T")

Body = bytes | tuple[bytes, ...]
"""A body: bytes, split into pieces if it is large."""

_PIECE = 64 * 1024  # bytes; the capacity of a pipe
_HEAD = struct.Struct("<QQ")  # length of the pickle, length of the data after it
# The child gets only these variables, because the rest of the environment holds secrets.
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH")


class SideProcessDied(Exception):
    """The process died while it worked, or its function failed unexpectedly."""


class Aside(Protocol):
    """The interface of `SideProcesses` for code that only submits work."""

    async def run(
        self, work: Callable[..., tuple[T, bytes]], *arguments: object, data: Body = b""
    ) -> tuple[T, tuple[bytes, ...]]: ...


class SideProcesses:
    """A pool of at most `most` processes, started on demand.

    One call may take `patience` seconds. A process that was idle for `idle` seconds ends.
    """

    def __init__(self, most: int = 2, patience: float = 30.0, idle: float = 60.0) -> None:
        self._patience, self._idle = patience, idle
        self._places = asyncio.Semaphore(most)  # FIFO
        self._free: list[_SideProcess] = []

    async def run(
        self, work: Callable[..., tuple[T, bytes]], *arguments: object, data: Body = b""
    ) -> tuple[T, tuple[bytes, ...]]:
        """Run `work(data, *arguments)` in a process. Return its result, with its bytes in
        pieces.

        `work` must be a module-level function, and its arguments must be picklable. Raises the
        `RouterError` that it raises, `SideProcessDied`, or `TimeoutError`. Cancellation kills
        the process.
        """
        async with self._places:
            process = self._take() or await _SideProcess.start()
            try:
                async with asyncio.timeout(self._patience):
                    result, returned = await process.run((work, arguments), data)
            except BaseException:
                await finish(process.end())
                raise
            process.end_after(self._idle, self._free)
            self._free.append(process)
        if isinstance(result, RouterError):
            raise result
        return cast("T", result), returned

    def _take(self) -> _SideProcess | None:
        while self._free:
            process = self._free.pop()
            process.keep()
            if not process.gone:  # it may have been killed for its memory use
                return process
        return None

    async def close(self) -> None:
        """End the idle processes. The cancellation of a call ends a busy one."""
        while self._free:
            await self._free.pop().end()


class _SideProcess:
    """One process and its pipes. See `side_process_child`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stdin = cast("asyncio.StreamWriter", process.stdin)  # both are pipes
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> Self:
        """Raises `SideProcessDied` if the machine can't start a process."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "router.side_process_child"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # a traceback could show what a caller sent
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is for the router
            )
        except OSError as error:
            raise SideProcessDied(f"no process could be started: {error.strerror}") from None
        return cls(process)

    async def run(self, order: object, data: Body) -> tuple[object, tuple[bytes, ...]]:
        try:
            await self._send(pickle.dumps(order), data)
            return await self._receive()
        except (OSError, EOFError) as error:  # EOFError also covers a truncated answer
            raise SideProcessDied(f"a side process died: {type(error).__name__}") from None

    async def _send(self, head: bytes, data: Body) -> None:
        self._stdin.write(_HEAD.pack(len(head), size(data)) + head)
        for piece in pieces(data):
            self._stdin.write(piece)
            await self._stdin.drain()
        await self._stdin.drain()

    async def _receive(self) -> tuple[object, tuple[bytes, ...]]:
        head, left = _HEAD.unpack(await self._stdout.readexactly(_HEAD.size))
        result: object = pickle.loads(await self._stdout.readexactly(head))  # noqa: S301 - our own child's
        returned: list[bytes] = []
        while left:
            piece = await self._stdout.read(min(left, _PIECE))
            if not piece:
                raise EOFError
            returned.append(piece)
            left -= len(piece)
        if isinstance(result, Exception) and not isinstance(result, RouterError):
            raise SideProcessDied(f"work in a side process broke down: {result}")
        return result, tuple(returned)

    @property
    def gone(self) -> bool:
        return self._stdout.at_eof() or self._process.returncode is not None

    def keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def end_after(self, seconds: float, free: list[_SideProcess]) -> None:
        """End the process after that many seconds, unless `keep` is called first."""

        def end() -> None:
            free.remove(self)
            self._stdin.close()  # the child exits at end of file

        self._timer = asyncio.get_running_loop().call_later(seconds, end)

    async def end(self) -> None:
        self.keep()
        with suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()
        await self._process.wait()


def size(body: Body) -> int:
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


def pieces(body: Body) -> Iterator[bytes | memoryview]:
    """All of the body, in pieces that are short enough to copy quickly."""
    for whole in (body,) if isinstance(body, bytes) else body:
        view = memoryview(whole)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
