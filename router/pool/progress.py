"""How far downloads and starts are, and how long they may still take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from router.clock import Clock
from router.models import EngineKey
from router.pool.interfaces import FetchProgress, Snapshot
from router.scheduler import actions, events

_log = logging.getLogger(__name__)

_LOG_EVERY = 10.0  # seconds between two lines about a download
_REMEMBERED = 256  # models for which the duration of the last start is kept


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
        # By the number of the download or start, not by model: an abandoned one may still be
        # ending when the next for the same model has begun.
        self._began: dict[int, float] = {}
        self._bytes: dict[int, FetchProgress] = {}
        self._starts: dict[EngineKey, float] = {}  # seconds that the last one took

    def begin(self, number: int) -> None:
        """A download or a start begins."""
        self._began[number] = self._clock()

    def note(self, number: int, progress: FetchProgress) -> None:
        before = self._bytes.get(number)
        if before is not None and before.queued and not progress.queued:
            self._began[number] = self._clock()  # it had no bytes to count until now
        self._bytes[number] = progress

    def end(self, number: int) -> float:
        """It ended, whether or not it succeeded. Returns the seconds that it took."""
        self._bytes.pop(number, None)
        return self._clock() - self._began.pop(number, self._clock())

    def started(self, key: EngineKey, seconds: float) -> None:
        """A start has succeeded."""
        self._starts.pop(key, None)
        self._starts[key] = seconds
        if len(self._starts) > _REMEMBERED:
            del self._starts[next(iter(self._starts))]

    def fetching(self, number: int, key: EngineKey) -> Estimate:
        """The rest of a download at the rate so far, and the start that follows."""
        progress = self._bytes.get(number)
        if progress is not None and progress.queued:
            return Estimate(queued=True)
        if progress is None or not progress.done or number not in self._began:
            return Estimate()
        elapsed = self._clock() - self._began[number]
        left = elapsed * (progress.total - progress.done) / progress.done
        start = self._expected(key)
        seconds = None if start is None else left + start
        return Estimate(progress.done, progress.total, seconds)

    def starting(self, number: int, key: EngineKey) -> Estimate:
        """The rest of a start."""
        expected = self._expected(key)
        if expected is None or number not in self._began:
            return Estimate()
        return Estimate(seconds=max(0.0, expected - (self._clock() - self._began[number])))

    def _expected(self, key: EngineKey) -> float | None:
        """Seconds that the model's last start took, or else the average of all models."""
        if key in self._starts:
            return self._starts[key]
        return sum(self._starts.values()) / len(self._starts) if self._starts else None


class FetchMeter:
    """Follows one download: logs how far it is, and charges its bytes to its caller.

    Tells the scheduler once that the small files are there.
    """

    def __init__(
        self,
        action: actions.Fetch,
        tracker: ProgressTracker,
        report: Callable[[events.Event], None],
        clock: Clock,
    ) -> None:
        self._action, self._tracker, self._report = action, tracker, report
        self._clock = clock
        self._logged_at = clock()
        self._latest: FetchProgress | None = None
        self._uncharged = 0  # bytes
        self._described = False

    def note(self, progress: FetchProgress) -> None:
        """The download is this far. The first call tells what was on disk before."""
        self._tracker.note(self._action.attempt, progress)
        if progress.queued:
            return
        self._describe(progress.described)
        if self._latest is not None:
            self._uncharged += max(0, progress.done - self._latest.done)
        self._latest = progress
        if (now := self._clock()) - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            self.charge()
            model = self._action.spec.model
            _log.info("fetching %s: %d of %d bytes", model, progress.done, progress.total)

    def _describe(self, snapshot: Snapshot | None) -> None:
        if snapshot is None or self._described:
            return
        self._described = True
        key, attempt = self._action.spec.key, self._action.attempt
        self._report(events.Described(key, attempt, snapshot.path, snapshot.plan))

    @property
    def size(self) -> int:
        """Bytes of the whole snapshot, as far as they are known."""
        return self._latest.total if self._latest else 0

    def charge(self) -> None:
        """Charge what has been downloaded since the last time."""
        if self._uncharged and self._action.caller is not None:
            self._report(events.Downloaded(self._action.caller, self._uncharged))
        self._uncharged = 0
