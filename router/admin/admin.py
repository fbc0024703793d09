"""What the operator sees of a running worker.

Everything here is for the operator alone: it names private models of callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass

import orjson

from router.admin.disk_meter import DiskMeter
from router.admin.listener import ListenerTooSlow, StateListener
from router.admin.state import StateWriter, WorkerFacts
from router.errors import QueueFull
from router.pool.pool import EnginePool

MOST_LISTENERS = 8
_KEEP_ALIVE = b": nothing new\n\n"


@dataclass(frozen=True, slots=True)
class EventPace:
    """Seconds. `gap`: between two states, at least. `refresh`: between two states while a model
    is loaded, since its seconds and bytes move. `quiet`: without a byte, at most."""

    gap: float = 0.25
    refresh: float = 2.0
    quiet: float = 10.0


class Admin:
    """Implements `router.http.admin_routes.Operations`.

    `facts`: what holds for the whole worker now. `wall`: seconds since 1970.
    """

    def __init__(
        self,
        pool: EnginePool,
        writer: StateWriter,
        disk: DiskMeter,
        facts: Callable[[], WorkerFacts],
        wall: Callable[[], float],
        *,
        pace: EventPace | None = None,
    ) -> None:
        self._pool, self._writer, self._disk = pool, writer, disk
        self._facts, self._wall = facts, wall
        self._pace = pace or EventPace()
        self._listeners: set[StateListener] = set()
        self._closed = False

    async def state(self) -> bytes:
        """The worker's state, as JSON."""
        usage = await self._disk.look()
        status = self._pool.report()
        state = self._writer.state(status, self._facts(), usage, self._wall())
        return orjson.dumps(state)

    async def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events: each state that follows, and what happens. Ends with the worker,
        and for a listener that reads too slowly. Raises `QueueFull`."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise QueueFull(f"There are {MOST_LISTENERS} listeners already: close one.")
        listener = StateListener()
        self._listeners.add(listener)
        try:
            with self._pool.watch(listener.tell), suppress(ListenerTooSlow):
                async for event in self._follow(listener):
                    yield event
        finally:
            self._listeners.discard(listener)

    async def _follow(self, listener: StateListener) -> AsyncGenerator[bytes]:
        while True:
            last, usage = self._closed, await self._disk.look()
            happened, status, now = listener.take(), self._pool.report(), self._wall()
            for one in happened:
                line = self._writer.happening(one, now - status.report.now)
                yield _event("journal", line)
            yield _event("state", self._writer.state(status, self._facts(), usage, now))
            if last:
                return
            await asyncio.sleep(self._pace.gap)
            within = self._pace.refresh if status.report.moves else self._pace.quiet
            while not await listener.changed(within) and not status.report.moves:
                yield _KEEP_ALIVE

    async def close(self) -> None:
        """No engine is left: send the last state to all listeners, and no more."""
        self._closed = True
        for listener in self._listeners:
            listener.wake()
        await self._disk.close()


def _event(name: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(content))
