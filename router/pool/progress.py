"""How far downloads and starts are, and how long they may still take."""

from __future__ import annotations

from dataclasses import dataclass

from router.clock import Clock
from router.models import EngineKey
from router.pool.interfaces import FetchProgress
from router.pool.start_times import StartTimes


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far a model is. `done` and `total` are bytes of a download, 0 where none runs.

    `seconds`: the time left until the engine is ready; None where it can't be estimated.
    """

    done: int = 0
    total: int = 0
    seconds: float | None = None
    queued: bool = False  # the download waits until others end


class ProgressTracker:
    """Estimates from what was seen so far: the rate of a download, the last starts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the number of the download, not by model: an abandoned one may still be ending
        # when the next for the same model has begun.
        self._began: dict[int, float] = {}
        self._bytes: dict[int, FetchProgress] = {}
        self.starts = StartTimes(clock)

    def begin(self, number: int) -> None:
        """A download begins."""
        self._began[number] = self._clock()

    def note(self, number: int, progress: FetchProgress) -> None:
        before = self._bytes.get(number)
        if before is not None and before.queued and not progress.queued:
            self._began[number] = self._clock()  # it had no bytes to count until now
        self._bytes[number] = progress

    def end(self, number: int) -> None:
        """It ended, whether or not it succeeded."""
        self._bytes.pop(number, None)
        self._began.pop(number, None)

    def fetching(self, number: int, key: EngineKey) -> Estimate:
        """The rest of a download at the rate so far, and the start that follows."""
        progress = self._bytes.get(number)
        if progress is not None and progress.queued:
            return Estimate(queued=True)
        if progress is None or not progress.done or number not in self._began:
            return Estimate()
        elapsed = self._clock() - self._began[number]
        left = elapsed * (progress.total - progress.done) / progress.done
        start = self.starts.full(key)
        seconds = None if start is None else left + start
        return Estimate(progress.done, progress.total, seconds)

    def starting(self, number: int, key: EngineKey) -> Estimate:
        """The rest of a start."""
        return Estimate(seconds=self.starts.left(number, key))
