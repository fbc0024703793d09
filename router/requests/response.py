"""The streamed response to a request.

From the arrival of the request to the last byte, the caller of a stream gets something at least
every `SILENCE` seconds. If the engine has not answered by then, the stream begins with a
comment. After that, an error can only be an event of the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from router import tasks
from router.errors import EngineFailed, InternalError, RouterError
from router.requests.deadlines import out_of_time
from router.requests.dialects import Problem
from router.requests.event_stream import EventStream, comment
from router.requests.interfaces import Sink, Source
from router.requests.read_timer import ReadTimer

_log = logging.getLogger(__name__)

# Proxies and clients close a silent connection after 15 to 60 s.
SILENCE = 10.0  # seconds

_EVENT_STREAM = "text/event-stream"
# nginx buffers some kilobytes of a response, unless it is told not to.
_UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class StreamedResponse:
    """An event stream: whole events, comments while there are none, and errors as events.

    Iterating raises only `CancelledError`. A failure becomes the last events, and is then in
    `failure`.
    """

    __slots__ = (
        "_begun",
        "_end",
        "_engine",
        "_events",
        "_last_said",
        "_now",
        "_over",
        "_reaching",
        "_silence",
        "_timer",
        "_write",
        "failure",
        "headers",
        "status",
    )
    streams = True

    def __init__(
        self, engine: Source, events: EventStream, *, end: float, silence: float
    ) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {
            "content-type": f"{_EVENT_STREAM}; charset=utf-8",
            **_UNBUFFERED,
        }
        self.failure: Problem | None = None
        self._engine, self._events, self._timer = engine, events, ReadTimer()
        self._end, self._silence = end, silence
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._last_said = loop.time()  # when the caller last got something
        self._reaching: asyncio.Task[None] | None = loop.create_task(engine.reach())
        self._write: Callable[[bytes], bool]
        self._begun = self._over = False

    async def reached(self) -> bool:
        """Wait for the engine. Returns False if a comment is due first.

        Raises `RouterError` if the engine can't be reached.
        """
        reaching = self._reaching
        assert reaching is not None, "not closed"  # noqa: S101
        if not reaching.done():
            due = self._last_said + self._silence - self._now()
            await asyncio.wait({reaching}, timeout=max(0.0, due))
        if not reaching.done():
            return False
        reaching.result()
        return True

    async def close(self) -> None:
        self._timer.close()
        # Drop the task: its error's traceback refers to this response, a cycle that would keep
        # the request's token in memory until the garbage collector runs.
        reaching, self._reaching = self._reaching, None
        if reaching is not None and not self._begun:  # otherwise its result was used
            await tasks.cancel(reaching)

    def __aiter__(self) -> StreamedResponse:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        try:
            data = await self._next()
        except Exception as error:  # noqa: BLE001 - the head is sent, so the stream must report it
            data = self._tell(error)
        if not data:
            self._over = True
            raise StopAsyncIteration
        self._last_said = self._now()
        return data

    async def send(self, sink: Sink) -> None:
        self._write = sink.write
        async for data in self:
            if not sink.write(data):
                await sink.drained()
            if self._begun and not self._over:
                try:
                    await self._pour(sink)
                except ConnectionError:
                    raise  # the caller left
                except Exception as error:  # noqa: BLE001 - as above
                    sink.write(self._tell(error))

    async def _pour(self, sink: Sink) -> None:
        """Pass events on as they arrive, until something else is next."""
        with suppress(TimeoutError):  # a comment is due, or the end
            while not await self._timer.read(self._engine.pour(self._pass), self._due):
                await sink.drained()

    def _pass(self, data: bytes) -> bool:
        whole = self._events.feed(data)
        if not whole:
            return True
        self._last_said = self._now()
        return self._write(whole)

    def _due(self) -> float:
        """When a comment is due, or the end."""
        return min(self._last_said + self._silence, self._end)

    async def _next(self) -> bytes:
        """Return the next events, or a comment; b"" at the end."""
        if not self._begun:
            if not await self.reached():
                return self._comment()
            self._begun = True
            if events := self._first():
                return events
        while True:
            try:
                data = await self._timer.read(self._engine.read(), self._due)
            except TimeoutError:
                if self._due() == self._end:
                    raise out_of_time() from None
                return self._comment()
            if not data:
                self._over = True
                return self._events.end()
            if events := self._events.feed(data):
                return events

    def _first(self) -> bytes:
        """The engine's first output. If the stream began without it, that can be anything."""
        if self._engine.problem is not None:
            return self._fail(self._engine.problem)
        if not self._engine.streams:
            raise EngineFailed("The engine did not stream. Ask without `stream`.")
        return self._events.feed(self._engine.first)

    def _comment(self) -> bytes:
        return comment(str(self._engine.progress()))

    def _tell(self, error: Exception) -> bytes:
        """Return the last events of a failed stream."""
        if not isinstance(error, RouterError):
            _log.error("a defect of the router", exc_info=error)
            error = InternalError("The router failed on this request. Its log says why.")
        return self._fail(Problem.of(error))

    def _fail(self, problem: Problem) -> bytes:
        self.failure, self._over = problem, True
        return self._events.fail(problem)
