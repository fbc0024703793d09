"""The context managers that answer a request and always clean up after it.

They are classes, because each generator-based context manager costs time per request and memory
per open stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

from router.requests.dialects import Dialect
from router.requests.event_stream import EventStream
from router.requests.interfaces import Response, Source
from router.requests.request import Report, Request
from router.requests.response import SILENCE, StreamedResponse
from router.requests.whole_response import answered


class Opening:
    """One request. `async with` returns its response, and ends it."""

    __slots__ = ("_respond", "_responding")

    def __init__(
        self,
        respond: Callable[[Request, Report | None], Awaitable[Responding]],
        request: Request,
        report: Report | None,
    ) -> None:
        self._respond = partial(respond, request, report)
        self._responding: Responding | None = None

    async def __aenter__(self) -> Response:
        reading = self._respond()
        del self._respond  # it holds the body, which would be in memory twice
        self._responding = await reading
        del reading
        return await self._responding.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._responding is not None:
            await self._responding.__aexit__(kind, error, traceback)


class Responding:
    """`async with` returns the response when its head is known, and ends the call.

    `events` renders the stream; None if the caller did not ask for a stream. `end` is a time of
    the loop's clock, and `silence` is in seconds. Raises `RouterError` before there is a
    response.
    """

    __slots__ = ("_dialect", "_end", "_engine", "_events", "_silence", "_stream")

    def __init__(
        self,
        engine: Source,
        dialect: Dialect,
        events: EventStream | None,
        *,
        end: float,
        silence: float = SILENCE,
    ) -> None:
        self._engine, self._dialect, self._events = engine, dialect, events
        self._end, self._silence = end, silence
        self._stream: StreamedResponse | None = None

    async def __aenter__(self) -> Response:
        try:
            return await self._respond()
        except BaseException:
            await self._close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _respond(self) -> Response:
        engine = self._engine
        if self._events is None:
            await engine.reach()
            return answered(engine, self._dialect, self._end)
        stream = self._stream = StreamedResponse(
            engine, self._events, end=self._end, silence=self._silence
        )
        if await stream.reached() and not engine.streams:
            return answered(engine, self._dialect, self._end)
        return stream

    async def _close(self) -> None:
        try:
            if self._stream is not None:
                await self._stream.close()
        finally:
            await self._engine.close()
