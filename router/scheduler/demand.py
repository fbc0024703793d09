"""How often a model is asked for, and so how soon it is likely to be asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

# Of the mean gap, what the latest one makes up. High enough to follow a day, low enough that
# one pause does not make a busy model look rare.
_WEIGHT = 0.2


@dataclass(slots=True)
class Demand:
    """The requests for one model so far. Times in seconds."""

    last: float = -inf  # the latest request
    gap: float = inf  # mean time between requests, the recent ones counting most

    def arrive(self, now: float) -> None:
        """One more request."""
        if self.last > -inf:
            latest = now - self.last
            self.gap = latest if self.gap == inf else self.gap + _WEIGHT * (latest - self.gap)
        self.last = now

    def interval(self, now: float) -> float:
        """Seconds until the next request, as far as the past tells; `inf`: no telling.

        A model that has been quiet for longer than its usual gap is thought to stay quiet for
        as long again: bursts end, and what was popular yesterday may be over.
        """
        return max(self.gap, now - self.last)
