"""Keeps for one listener what it has not been sent yet: happenings, and a state change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from router.admin.timeline import Happening, happenings
from router.scheduler import actions, events

MOST = 256  # happenings kept for a listener


class ListenerTooSlow(Exception):
    """The listener has missed happenings, because it reads too slowly."""


class StateListener:
    """Collects the pool's events for one listener, up to `MOST`."""

    def __init__(self) -> None:
        self._happened: deque[Happening] = deque()
        self._changed = asyncio.Event()
        self._overflowed = False

    def tell(self, now: float, event: events.Event, decided: Sequence[actions.Action]) -> None:
        """Implements the pool's `Watcher`."""
        self._changed.set()
        if self._overflowed:
            return
        self._happened.extend(happenings(now, event, decided))
        if len(self._happened) > MOST:
            self._overflowed = True
            self._happened.clear()

    def wake(self) -> None:
        """Note a change besides the pool's events."""
        self._changed.set()

    def take(self) -> list[Happening]:
        """What happened since the last call. Raises `ListenerTooSlow`."""
        if self._overflowed:
            raise ListenerTooSlow
        self._changed.clear()
        happened = list(self._happened)
        self._happened.clear()
        return happened

    async def changed(self, within: float) -> bool:
        """Whether something changed since the last `take`, or does `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
