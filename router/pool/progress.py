"""The progress of downloads, and estimates of their remaining time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.clock import Clock
from router.pool.interfaces import FetchProgress
from router.scheduler.forecast import NO_DOWNLOAD, Download


@dataclass(frozen=True, slots=True)
class _Fetching:
    """One download: its start, its first progress, and its latest progress."""

    began: float
    first: FetchProgress
    latest: FetchProgress


class ProgressTracker:
    """Estimates the rest of each download from its rate so far.

    Keyed by the number of the download, not by model: an abandoned download may still be ending
    when the next one for the same model begins.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.downloaded = 0  # bytes of all downloads so far
        self._runs: dict[int, _Fetching] = {}

    def note(self, number: int, progress: FetchProgress) -> None:
        """Note the progress of a download. The first call says what was on disk before."""
        run = self._runs.get(number)
        if run is None or run.latest.queued:
            run = _Fetching(self._clock(), progress, progress)
        self.downloaded += max(0, progress.done - run.latest.done)
        self._runs[number] = replace(run, latest=progress)

    def end(self, number: int) -> None:
        """Note that a download ended, even if it failed."""
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
