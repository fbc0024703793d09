"""Why the requests for a model wait, and how long it takes until the model answers.

`router/scheduler/outlook.py` computes it. No text names another model or caller: it may be
private.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil

# What lasts longer than expected is expected to last for this share of what it took so far.
# The rest then grows, and is never nothing while it goes on.
OVERDUE = 0.1
GUESSED = 0.5  # where the expectation was a guess, because nothing of the kind was measured
SHORTEST = 1.0  # seconds


class Reason(StrEnum):
    """What the requests for a model wait for."""

    QUEUED = "queued"  # nothing has begun
    DOWNLOADS = "waiting for other downloads"
    FETCHING = "fetching"
    ROOM = "waiting for room"  # other engines leave for it
    GROUP = "waiting for its group"  # others leave beside which it may not be loaded
    TURN = "waiting for its turn"  # others are loaded, or make room for others, before
    COOLING = "cooling down after a failure"
    STARTING = "starting"
    WAKING = "waking"
    PLACE = "waiting for a place"  # the engine is up, and busy


_LOADS = frozenset({Reason.DOWNLOADS, Reason.FETCHING, Reason.STARTING, Reason.WAKING})


@dataclass(frozen=True, slots=True)
class Download:
    """How far a download is: what the scheduler itself does not see."""

    done: int = 0  # bytes
    total: int = 0
    seconds: float | None = None  # until it is complete; None: no telling
    queued: bool = False  # it waits until others end
    rate: float | None = None  # bytes a second, so far; None: no telling


NO_DOWNLOAD = Download()


@dataclass(frozen=True, slots=True)
class Forecast:
    """Why a model does not answer yet. Times in seconds from now; None: no telling.

    Of a start or a waking under way: the seconds that it was `expected` to take, and those that
    have `elapsed`.
    """

    reason: Reason
    seconds: float | None = None  # until it answers
    room_in: float | None = None  # until the engines that make room have left
    expected: float | None = None
    elapsed: float | None = None
    guessed: bool = False  # no start like it was measured here

    @property
    def loads(self) -> bool:
        """The model is being loaded: it would not be any further without other models."""
        return self.reason in _LOADS

    @property
    def overdue(self) -> bool:
        """It takes longer than expected, so that `seconds` is worth little."""
        return self.expected is not None and (self.elapsed or 0.0) > self.expected

    def __str__(self) -> str:
        if self.overdue:
            took, expected = ceil(self.elapsed or 0.0), ceil(self.expected or 0.0)
            return f"{self.reason}: longer than expected, {took} s instead of {expected} s"
        if self.room_in is None:
            return str(self.reason)
        return f"{self.reason}: another model leaves in about {ceil(self.room_in)} s"


def rest(expected: float, elapsed: float, share: float = OVERDUE) -> float:
    """Seconds that are left of what was expected to take so long. `share`: of what it took so
    far, which is the least."""
    return max(expected - elapsed, share * elapsed, SHORTEST)
