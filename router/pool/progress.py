"""How far a model is on its way, and how long it may still take, by what was seen so far."""

from __future__ import annotations

from dataclasses import dataclass

from router.clock import Clock
from router.models import EngineKey
from router.pool.interfaces import FetchProgress

_REMEMBERED = 256  # models whose last start is known by its duration


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on disk of those that are wanted, while fetching; seconds that are left, None
    where nothing was seen to tell it from."""

    done: int = 0
    total: int = 0
    seconds: float | None = None


class ProgressTracker:
    """Noted by the tasks that fetch and start; asked by who waits. Honest, not exact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the number of the download or the start: one that was given up can still be
        # winding down when the next of the same model has begun.
        self._began: dict[int, float] = {}
        self._bytes: dict[int, FetchProgress] = {}
        self._starts: dict[EngineKey, float] = {}  # seconds that the last one took

    def begin(self, number: int) -> None:
        """A download or a start begins."""
        self._began[number] = self._clock()

    def note(self, number: int, progress: FetchProgress) -> None:
        self._bytes[number] = progress

    def end(self, number: int) -> float:
        """It ended, however; return the seconds that it took."""
        self._bytes.pop(number, None)
        return self._clock() - self._began.pop(number, self._clock())

    def started(self, key: EngineKey, seconds: float) -> None:
        self._starts.pop(key, None)
        self._starts[key] = seconds
        if len(self._starts) > _REMEMBERED:
            del self._starts[next(iter(self._starts))]

    def fetching(self, number: int, key: EngineKey) -> Estimate:
        """By the rate so far, and with the start that follows."""
        progress = self._bytes.get(number)
        if progress is None or not progress.done or number not in self._began:
            return Estimate()
        elapsed = self._clock() - self._began[number]
        left = elapsed * (progress.total - progress.done) / progress.done
        start = self._expected(key)
        seconds = None if start is None else left + start
        return Estimate(progress.done, progress.total, seconds)

    def starting(self, number: int, key: EngineKey) -> Estimate:
        expected = self._expected(key)
        if expected is None or number not in self._began:
            return Estimate()
        return Estimate(seconds=max(0.0, expected - (self._clock() - self._began[number])))

    def _expected(self, key: EngineKey) -> float | None:
        """As long as its last start took, else as the average of all others."""
        if key in self._starts:
            return self._starts[key]
        return sum(self._starts.values()) / len(self._starts) if self._starts else None
