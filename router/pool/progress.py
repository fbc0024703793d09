"""How far downloads are, and how long they may still take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.clock import Clock
from router.pool.interfaces import FetchProgress
from router.scheduler.forecast import NO_DOWNLOAD, Download


@dataclass(frozen=True, slots=True)
class _Fetching:
    """One download: what it began with, and when; and how far it is."""

    began: float
    first: FetchProgress
    latest: FetchProgress


class ProgressTracker:
    """Estimates the rest of each download from its rate so far.

    By the number of the download, not by model: an abandoned one may still be ending when the
    next for the same model has begun.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.downloaded = 0  # bytes, of all downloads so far
        self._runs: dict[int, _Fetching] = {}

    def note(self, number: int, progress: FetchProgress) -> None:
        """A download is this far. The first call tells what was on disk before."""
        run = self._runs.get(number)
        if run is None or run.latest.queued:
            run = _Fetching(self._clock(), progress, progress)
        self.downloaded += max(0, progress.done - run.latest.done)
        self._runs[number] = replace(run, latest=progress)

    def end(self, number: int) -> None:
        """It ended, whether or not it succeeded."""
        self._runs.pop(number, None)

    def of(self, number: int) -> Download:
        run = self._runs.get(number)
        if run is None:
            return NO_DOWNLOAD
        latest = run.latest
        if latest.queued:
            return Download(queued=True)
        fetched, left = latest.done - run.first.done, latest.total - latest.done
        if fetched <= 0:
            return Download(latest.done, latest.total, None if left else 0.0)
        elapsed = self._clock() - run.began
        rate = fetched / elapsed if elapsed > 0 else None
        return Download(latest.done, latest.total, elapsed * left / fetched, rate=rate)
