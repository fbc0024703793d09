"""The timer for the pool's deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from router.clock import Clock


class Timer:
    """Calls `fire` once, at about a given time of the pool's clock."""

    def __init__(self, fire: Callable[[], None], clock: Clock) -> None:
        self._fire, self._clock = fire, clock
        self._handle: asyncio.TimerHandle | None = None
        self.armed_for = inf  # `inf`: not armed

    def arm(self, at: float) -> None:
        """Fire at `at`. Replaces any earlier time."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_at(loop.time() + max(0.0, at - self._clock()), self._fire)
        self.armed_for = at

    def cancel(self) -> None:
        """Do not fire."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self.armed_for = None, inf
