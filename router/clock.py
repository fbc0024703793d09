"""Time as the worker lived it. A serverless worker can be frozen between requests, and
thawed minutes or days later: what it was told before may not be believed, and the time
that it did not have must not count against anybody's deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

Clock = Callable[[], float]  # seconds, monotonic

_log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks
LATE = 30.0  # seconds: a look that is later than this means that nothing ran
DRIFT = 5.0  # seconds between the clocks: the machine slept, and one of them with it


class WorkerClock:
    """Seconds, monotonic, without those in which nothing ran."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._frozen = 0.0
        self._looked_at, self._wall_then = monotonic(), wall()

    def __call__(self) -> float:
        # Stands still once a look is overdue, so that whatever happens to run first after
        # a thaw sees no deadline gone by.
        return min(self._monotonic(), self._overdue) - self._frozen

    @property
    def _overdue(self) -> float:
        return self._looked_at + TICK + LATE

    def look(self) -> float:
        """Call it every `TICK` seconds. Returns for how long nothing ran, mostly 0."""
        now, wall = self._monotonic(), self._wall()
        missed = max(0.0, now - self._overdue)
        drift = (wall - self._wall_then) - (now - self._looked_at)
        self._frozen += missed
        self._looked_at, self._wall_then = now, wall
        return max(missed, abs(drift) if abs(drift) > DRIFT else 0.0)


async def watch(
    clock: WorkerClock,
    thawed: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Look at the clock for ever, and call `thawed` after each freeze."""
    while True:
        await sleep(TICK)
        if gap := clock.look():
            _log.warning("this worker was frozen for about %.0f s; asking everything anew", gap)
            await thawed()
