"""Estimates from past requests when a model will be requested again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

# Weight of the latest gap in the moving average. High enough to follow the course of a day, low
# enough that one pause does not make a busy model look rare.
_WEIGHT = 0.2


@dataclass(slots=True)
class Demand:
    """The past requests for one model. Times are in seconds."""

    last: float = -inf  # time of the latest request
    gap: float = inf  # moving average of the time between requests

    def arrive(self, now: float) -> None:
        """Note one more request."""
        if self.last > -inf:
            latest = now - self.last
            self.gap = latest if self.gap == inf else self.gap + _WEIGHT * (latest - self.gap)
        self.last = now

    def interval(self, now: float) -> float:
        """Expected seconds until the next request; `inf` if unknown.

        A model that has been quiet for longer than its usual gap is expected to stay quiet for
        as long again: bursts end, and yesterday's popular model may be obsolete.
        """
        return max(self.gap, now - self.last)
