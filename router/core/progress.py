"""How far a model is on its way, and how long it may still take, by what was seen so far."""

from __future__ import annotations

from dataclasses import dataclass

from router.core.models import EngineKey
from router.core.ports import Clock, FetchProgress

_REMEMBERED = 256  # models whose last start is known by its duration


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on disk of those that are wanted, while fetching; seconds that are left, None
    where nothing was seen to tell it from."""

    done: int = 0
    total: int = 0
    seconds: float | None = None


class Progress:
    """Noted by the tasks that fetch and start; asked by who waits. Honest, not exact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[EngineKey, float] = {}
        self._bytes: dict[EngineKey, FetchProgress] = {}
        self._starts: dict[EngineKey, float] = {}  # seconds that the last one took

    def begin(self, key: EngineKey) -> None:
        """A download or a start begins."""
        self._began[key] = self._clock()

    def note(self, key: EngineKey, progress: FetchProgress) -> None:
        self._bytes[key] = progress

    def end(self, key: EngineKey) -> float:
        """It ended, however; return the seconds that it took."""
        self._bytes.pop(key, None)
        return self._clock() - self._began.pop(key, self._clock())

    def started(self, key: EngineKey, seconds: float) -> None:
        self._starts.pop(key, None)
        self._starts[key] = seconds
        if len(self._starts) > _REMEMBERED:
            del self._starts[next(iter(self._starts))]

    def fetching(self, key: EngineKey) -> Estimate:
        """By the rate so far, and with the start that follows."""
        progress = self._bytes.get(key)
        if progress is None or not progress.done:
            return Estimate()
        elapsed = self._clock() - self._began[key]
        left = elapsed * (progress.total - progress.done) / progress.done
        start = self._expected(key)
        seconds = None if start is None else left + start
        return Estimate(progress.done, progress.total, seconds)

    def starting(self, key: EngineKey) -> Estimate:
        expected = self._expected(key)
        if expected is None or key not in self._began:
            return Estimate()
        return Estimate(seconds=max(0.0, expected - (self._clock() - self._began[key])))

    def _expected(self, key: EngineKey) -> float | None:
        """As long as its last start took, else as the average of all others."""
        if key in self._starts:
            return self._starts[key]
        return sum(self._starts.values()) / len(self._starts) if self._starts else None
