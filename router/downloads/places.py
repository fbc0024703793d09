"""Places for downloads: how many run at once, which is next, and which makes room.

A download has a place from before its process starts until that process is dead and its
partial files are gone. Decisions are synchronous, so nothing happens between a decision and
its effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

from router.pool.interfaces import Callers

SLOWEST = 1_000_000  # bytes per second; a slower download makes room for another caller's
PATIENCE = 30.0  # seconds over which the speed is measured


class Place:
    """One download that waits for a place or has one. Only `Places` writes its attributes."""

    def __init__(
        self, places: Places, callers: Callers, patience: float, clock: Callable[[], float]
    ) -> None:
        self._places, self._patience, self._clock = places, patience, clock
        self.callers = callers
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.charged: str | None = None  # the caller it counts against; None: the operator
        self.leaving = False
        self._since = 0.0  # when this measurement began ...
        self._before: int | None = None  # ... and the bytes on disk then
        self._done = 0  # bytes on disk

    def begin(self, charged: str | None) -> None:
        self.charged, self._since = charged, self._clock()
        self.granted.set_result(None)

    def note(self, done: int) -> None:
        """Note the bytes on disk. The first call sets how many were there before."""
        self._before = done if self._before is None else self._before
        self._done = done

    def is_over(self) -> bool:
        """Whether this download must leave its place to another."""
        self.leaving = self.leaving or self._places.needed(self, slow=self._is_slow())
        return self.leaving

    def _is_slow(self) -> bool:
        elapsed = self._clock() - self._since
        if elapsed < self._patience:
            return False
        if self._done - (self._before or 0) < SLOWEST * elapsed:
            return True
        self._since, self._before = self._clock(), self._done
        return False


class Places:
    """At most `limit` downloads at once.

    The next download is one of the caller with the fewest, and among these the oldest. The
    operator's go first, and those without a waiting caller go last. A running download makes
    room for the operator and for a caller with at least two fewer downloads. If it is slow, or
    nobody waits for it, it makes room for anyone else.
    """

    def __init__(
        self,
        limit: int,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._patience, self._clock = limit, patience, clock
        self._held: list[Place] = []  # in order of their start
        self._waiting: list[Place] = []  # the oldest first

    @property
    def full(self) -> bool:
        return len(self._held) >= self._limit

    @asynccontextmanager
    async def place(self, callers: Callers, turn: int = 0) -> AsyncIterator[Place]:
        """Wait for a place, and hold it during the block.

        `callers` returns the callers that wait for this download now. `turn` is how many
        places it has had before. Each turn is twice as long as the last, so that two slow
        downloads that make room for each other both end.
        """
        place = Place(self, callers, self._patience * 2 ** min(turn, 20), self._clock)
        self._waiting.append(place)
        try:
            self._hand_out()
            await place.granted
            yield place
        finally:
            (self._held if place in self._held else self._waiting).remove(place)
            self._hand_out()

    def needed(self, place: Place, *, slow: bool) -> bool:
        """Whether a waiting download should have this place instead."""
        if not self._waiting or any(other.leaving for other in self._held):
            return False  # one download that leaves is enough for now
        waiting = {caller for other in self._waiting for caller in other.callers()}
        if not place.callers():
            return bool(waiting)
        waiting.discard(place.charged)
        if slow:
            return bool(waiting)
        newest = [other for other in self._held if other.charged == place.charged][-1]
        fewest = min(map(self._rank, waiting), default=inf)
        return newest is place and fewest + 1 < self._rank(place.charged)

    def _hand_out(self) -> None:
        # A canceled download leaves the list as soon as its task runs.
        while not self.full and (there := [p for p in self._waiting if not p.granted.done()]):
            place = min(there, key=self._rank_of)
            self._waiting.remove(place)
            self._held.append(place)
            place.begin(min(place.callers(), key=self._rank, default=None))

    def _rank_of(self, place: Place) -> float:
        return min(map(self._rank, place.callers()), default=inf)

    def _rank(self, caller: str | None) -> int:
        """The number of a caller's downloads. -1 for the operator: these go first."""
        if caller is None:
            return -1
        return sum(other.charged == caller for other in self._held)
