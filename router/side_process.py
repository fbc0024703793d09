"""Runs pure functions in processes beside this one, so that the event loop stays free.

A thread would not do: most of this work is one long call that holds Python's lock. Data go over
pipes alone, because they may hold a token, and in pieces, because one copy of 32 MiB holds up
the loop for some 10 ms.
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
"""Bytes, in pieces where they are many."""

_PIECE = 64 * 1024  # bytes; what a pipe takes
_HEAD = struct.Struct("<QQ")  # bytes of the pickle, and of the data behind it
# The child gets no other variable: the rest of the environment holds secrets.
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH")


class SideProcessDied(Exception):
    """The process ended under its work, or the work itself broke down."""


class Aside(Protocol):
    """`SideProcesses`, as those see them who have work."""

    async def run(
        self, work: Callable[..., tuple[T, bytes]], *arguments: object, data: Body = b""
    ) -> tuple[T, tuple[bytes, ...]]: ...


class SideProcesses:
    """At most `most` processes, started when there is work for them.

    `patience` bounds one piece of work; a process that had none for `idle` ends. In seconds.
    """

    def __init__(self, most: int = 2, patience: float = 30.0, idle: float = 60.0) -> None:
        self._patience, self._idle = patience, idle
        self._places = asyncio.Semaphore(most)  # first come, first served
        self._free: list[_SideProcess] = []

    async def run(
        self, work: Callable[..., tuple[T, bytes]], *arguments: object, data: Body = b""
    ) -> tuple[T, tuple[bytes, ...]]:
        """Return what `work(data, *arguments)` returns, its bytes in pieces.

        `work` is a function of a module, and its arguments can be pickled. Raises the
        `RouterError` that it raises, `SideProcessDied`, and `TimeoutError`. A cancellation
        ends the process.
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
            if not process.gone:  # killed for its memory, say
                return process
        return None

    async def close(self) -> None:
        """End the processes that have no work. The others end with theirs."""
        while self._free:
            await self._free.pop().end()


class _SideProcess:
    """One process, and the pipes to it. See `side_process_child`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stdin = cast("asyncio.StreamWriter", process.stdin)  # both are pipes
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> Self:
        """Raises `SideProcessDied` where the machine has no place for a process."""
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
        except (OSError, EOFError) as error:  # EOFError: also half an answer
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
        """End it then, unless it is kept before."""

        def end() -> None:
            free.remove(self)
            self._stdin.close()  # at end of file it leaves

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
    """All of it, in pieces of which none takes long to copy."""
    for whole in (body,) if isinstance(body, bytes) else body:
        view = memoryview(whole)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
