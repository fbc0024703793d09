"""The operator's view of the past: the last hour, the latest requests, engines' output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from router.admin.json_text import to_json
from router.admin.last_hour import LastHour
from router.admin.names import Names
from router.admin.recent import RecentRequests
from router.admin.state import StateWriter
from router.admin.timeline import Happening
from router.clock import Clock
from router.errors import QueueFull
from router.pool.engine_log import EngineLog

_QUIET = 10.0  # seconds; the longest silence of a stream
_KEEP_ALIVE = b": nothing new\n\n"
MOST_READERS = 32  # streams that follow logs


class Past:
    """Implements `router.http.past_routes.PastEvents`.

    `clock` is the pool's. `wall` returns seconds since 1970.
    """

    def __init__(
        self,
        journal: LastHour,
        writer: StateWriter,
        recent: RecentRequests,
        log: EngineLog,
        *,
        names: Names,
        clock: Clock,
        wall: Callable[[], float],
        quiet: float = _QUIET,
    ) -> None:
        self._journal, self._writer, self._recent = journal, writer, recent
        self._names, self._log = names, log
        self._clock, self._wall, self._quiet = clock, wall, quiet
        self._readers = 0

    async def journal(self) -> bytes:
        """The happenings of the last hour, the latest last, as JSON."""
        now = self._clock()
        shift, happened = self._wall() - now, self._journal.since(now)
        # In a thread: redacting secrets in 2000 long texts takes half a second.
        return await asyncio.to_thread(self._told, happened, shift)

    def _told(self, happened: Sequence[Happening], shift: float) -> bytes:
        return to_json({"events": [self._writer.happening(one, shift) for one in happened]})

    def activity(self) -> bytes:
        """The requests in progress and the latest that have ended, as JSON."""
        return to_json(self._recent.everything())

    def log(self, name: str) -> bytes:
        """The last lines of a model's engines, as JSON."""
        return to_json({"lines": self._log.lines(self._names.repository(name))})

    async def follow_log(self, name: str) -> AsyncGenerator[bytes]:
        """Server-sent events: the last lines, then each new line.

        Raises `QueueFull`.
        """
        if self._readers >= MOST_READERS:  # lines wait in memory for each
            raise QueueFull(f"{MOST_READERS} readers follow logs already: close one.")
        self._readers += 1
        try:
            async with aclosing(self._follow(self._names.repository(name))) as events:
                async for event in events:
                    yield event
        finally:
            self._readers -= 1

    async def _follow(self, model: str) -> AsyncGenerator[bytes]:
        with self._log.follow(model) as follower:
            yield _lines(self._log.lines(model))
            while True:
                try:
                    async with asyncio.timeout(self._quiet):
                        line = await follower.get()
                except TimeoutError:
                    yield _KEEP_ALIVE
                    continue
                yield _lines([line])


def _lines(lines: Sequence[str]) -> bytes:
    return b"event: lines\ndata: %b\n\n" % to_json({"lines": lines})
