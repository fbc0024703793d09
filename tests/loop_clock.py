"""The clock of an event loop, in the hands of a test."""

from __future__ import annotations

import asyncio
from math import inf


class LoopClock:
    """Replaces the clock of the running loop, which ends with its test.

    Between two readings at most `most` seconds pass, so a pause of the machine takes no longer.
    With 0, time passes only in `advance`.
    """

    def __init__(self, most: float = inf) -> None:
        loop = asyncio.get_running_loop()
        self._real, self._most = loop.time, most
        self._seen = self._now = self._real()
        loop.time = self._time  # type: ignore[method-assign]

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def _time(self) -> float:
        real = self._real()
        self._now += min(real - self._seen, self._most)
        self._seen = real
        return self._now
