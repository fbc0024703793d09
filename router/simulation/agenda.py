"""A queue of callbacks in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf


class Agenda:
    """`now` is the time in seconds. It never passes a callback that is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    @property
    def next_at(self) -> float:
        """The time of the next callback; `inf` if there is none."""
        return self._due[0][0] if self._due else inf

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Call `what` after so many seconds."""
        self._order += 1
        heapq.heappush(self._due, (self.now + seconds, self._order, what))

    def go_on(self) -> None:
        """Advance to the next callback, and call it."""
        self.now, _, what = heapq.heappop(self._due)
        what()
