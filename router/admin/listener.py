"""What one listener has not been sent yet: whether the state has changed, and what happened."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from router.admin.timeline import Happening, happenings
from router.scheduler import actions, events

MOST = 256  # happenings that may wait to be read


class ListenerTooSlow(Exception):
    """It has not read what happened, and would miss some of it."""


class StateListener:
    """Hears of the pool's events. What it keeps is bounded."""

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
        """There is something to look at besides the pool's events."""
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
        """Whether anything happens within so many seconds, or has since the last `take`."""
        try:
            async with asyncio.timeout(within):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
