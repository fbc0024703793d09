"""Why the requests for a model wait, and how long it takes until the model answers.

`router/scheduler/predictions.py` computes this. No text names another model or caller, because
these may be private.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil

# An overdue operation is expected to take this share of its elapsed time longer. So the
# remaining time grows, and is never 0 while the operation goes on.
OVERDUE = 0.1
GUESSED = 0.5  # the same, if the expectation was a guess because nothing similar was measured
SHORTEST = 1.0  # seconds


class Reason(StrEnum):
    """What the requests for a model wait for."""

    QUEUED = "queued"  # nothing has started
    DOWNLOADS = "waiting for other downloads"
    FETCHING = "fetching"
    ROOM = "waiting for room"  # other engines make room for it
    GROUP = "waiting for its group"  # engines stop that its group excludes
    TURN = "waiting for its turn"  # other models are loaded, or get room, before it
    COOLING = "cooling down after a failure"
    STARTING = "starting"
    WAKING = "waking"
    PLACE = "waiting for a place"  # its engine is up but busy


_LOADS = frozenset({Reason.DOWNLOADS, Reason.FETCHING, Reason.STARTING, Reason.WAKING})


@dataclass(frozen=True, slots=True)
class Download:
    """The progress of a download, which the scheduler itself does not see."""

    done: int = 0  # bytes
    total: int = 0
    seconds: float | None = None  # until it is complete; None: unknown
    queued: bool = False  # it waits until other downloads end
    rate: float | None = None  # bytes per second so far; None: unknown


NO_DOWNLOAD = Download()


@dataclass(frozen=True, slots=True)
class Forecast:
    """Why a model does not answer yet. Times are in seconds from now; None: unknown.

    During a start or a wake-up, `expected` is its expected duration and `elapsed` the time so
    far.
    """

    reason: Reason
    seconds: float | None = None  # until it answers
    room_in: float | None = None  # until the engines that make room are gone
    expected: float | None = None
    elapsed: float | None = None
    guessed: bool = False  # no similar start was measured on this machine

    @property
    def loads(self) -> bool:
        """Whether the model is being loaded. If so, other models do not delay it."""
        return self.reason in _LOADS

    @property
    def overdue(self) -> bool:
        """Whether it takes longer than expected, which makes `seconds` unreliable."""
        return self.expected is not None and (self.elapsed or 0.0) > self.expected

    def __str__(self) -> str:
        if self.overdue:
            took, expected = ceil(self.elapsed or 0.0), ceil(self.expected or 0.0)
            return f"{self.reason}: longer than expected, {took} s instead of {expected} s"
        if self.room_in is None:
            return str(self.reason)
        return f"{self.reason}: another model leaves in about {ceil(self.room_in)} s"


def rest(expected: float, elapsed: float, share: float = OVERDUE) -> float:
    """Remaining seconds of an operation. `share`: the remaining time is at least this share of
    the elapsed time."""
    return max(expected - elapsed, share * elapsed, SHORTEST)
