"""A clock that excludes the time for which the worker was frozen.

A serverless platform can freeze a worker between requests and thaw it minutes or days later.
After a thaw, everything the worker knew is out of date, and the frozen time must not count
against any deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

Clock = Callable[[], float]  # seconds, monotonic

_log = logging.getLogger(__name__)

TICK = 1.0  # seconds between two calls of `WorkerClock.look`
LATE = 30.0  # seconds; if `look` is late by more than this, the worker was frozen
DRIFT = 5.0  # seconds; if the two clocks differ by more than this, one of them stood still


class WorkerClock:
    """Monotonic seconds, minus the time for which the worker was frozen."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._frozen = 0.0
        self._wall_then = wall()
        self._look_at(monotonic())

    def __call__(self) -> float:
        # The time stands still once a look is overdue. Otherwise the first code to run after a
        # thaw would see its deadlines pass.
        now = self._monotonic()
        return min(now, self._overdue) - self._frozen

    def _look_at(self, now: float) -> None:
        self._looked_at, self._overdue = now, now + TICK + LATE

    def look(self) -> float:
        """Compare the clocks. Call this every `TICK` seconds.

        Returns the number of seconds for which the worker was frozen, usually 0.
        """
        now, wall = self._monotonic(), self._wall()
        missed = max(0.0, now - self._overdue)
        drift = (wall - self._wall_then) - (now - self._looked_at)
        self._frozen += missed
        self._wall_then = wall
        self._look_at(now)
        return max(missed, abs(drift) if abs(drift) > DRIFT else 0.0)


async def watch(
    clock: WorkerClock,
    thawed: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Compare the clocks forever, and call `thawed` after each freeze."""
    while True:
        await sleep(TICK)
        if gap := clock.look():
            _log.warning(
                "this worker was frozen for about %.0f s; checking everything again", gap
            )
            await thawed()
