"""The responses that are not event streams: a complete answer, and an engine's error."""

from __future__ import annotations

import asyncio

from router.requests.deadlines import out_of_time
from router.requests.dialects import Dialect, Problem
from router.requests.interfaces import Response, Sink, Source, send_pieces


def answered(engine: Source, dialect: Dialect, end: float) -> Response:
    if engine.problem is not None:
        return RefusedResponse(engine.problem, dialect)
    return WholeResponse(engine, end)


class RefusedResponse:
    """An engine's own error, in the route's dialect."""

    streams = False

    def __init__(self, problem: Problem, dialect: Dialect) -> None:
        self._body = dialect.body(problem)
        self.status, self.failure = problem.status, problem
        self.headers = {**problem.headers, "Content-Length": str(len(self._body))}

    def __aiter__(self) -> RefusedResponse:
        return self

    async def send(self, sink: Sink) -> None:
        await send_pieces(self, sink)

    async def __anext__(self) -> bytes:
        data, self._body = self._body, b""
        if not data:
            raise StopAsyncIteration
        return data


class WholeResponse:
    """An answer that is not an event stream, passed on byte for byte.

    Iterating raises `RouterError` if the answer breaks off or takes too long.
    """

    streams = False
    failure: Problem | None = None

    def __init__(self, engine: Source, end: float) -> None:
        self.status, self.headers = engine.status, engine.headers
        self._engine, self._end = engine, end
        self._first = engine.first
        # Remaining bytes; < 0: unknown. The engine's connection checks the length.
        self._left = int(self.headers.get("content-length", -1))

    def __aiter__(self) -> WholeResponse:
        return self

    async def send(self, sink: Sink) -> None:
        await send_pieces(self, sink)

    async def _more(self) -> bytes:
        if self._left == 0:  # it has ended, so this does not wait
            return await self._engine.read()
        try:
            async with asyncio.timeout_at(self._end):
                return await self._engine.read()
        except TimeoutError:
            raise out_of_time() from None

    async def __anext__(self) -> bytes:
        data, self._first = self._first, b""
        if not data:
            data = await self._more()
        if not data:
            raise StopAsyncIteration
        self._left -= len(data)
        return data
