"""What happens when, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf


class Agenda:
    """`now`: the time. It is never set past something that is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    @property
    def next_at(self) -> float:
        """When something is due next; `inf`: nothing is."""
        return self._due[0][0] if self._due else inf

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._order += 1
        heapq.heappush(self._due, (self.now + seconds, self._order, what))

    def go_on(self) -> None:
        """Do what is due next, at its time."""
        self.now, _, what = heapq.heappop(self._due)
        what()
