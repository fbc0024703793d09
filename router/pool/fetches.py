"""Performs downloads for the executor: tracks, charges and reports them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy

from router.clock import Clock
from router.errors import (
    AccessError,
    HubUnavailable,
    InsufficientDisk,
    InternalError,
    RouterError,
)
from router.pool.interfaces import Callers, Downloader, FetchProgress, Snapshot
from router.pool.progress import ProgressTracker
from router.scheduler import actions, events
from router.secrets import Token

_log = logging.getLogger(__name__)

_LOG_EVERY = 10.0  # seconds between log lines about a download


class Fetcher:
    """Performs `actions.Fetch`."""

    def __init__(
        self,
        downloader: Downloader,
        progress: ProgressTracker,
        report: Callable[[events.Event], None],
        clock: Clock,
    ) -> None:
        self._downloader, self._progress = downloader, progress
        self._report, self._clock = report, clock

    async def fetch(
        self, action: actions.Fetch, credential: Token | None, callers: Callers
    ) -> None:
        """Download a model. Reports once, unless it is canceled."""
        spec, attempt = action.spec, action.attempt
        model, key = spec.model, spec.key
        _log.info("fetching %s", model)
        meter = FetchMeter(action, self._progress, self._report, self._clock)
        try:
            snapshot = await self._downloader.fetch(
                model, credential, meter.note, callers, flags=spec.flags, claim=spec.memory
            )
        except RouterError as error:
            if isinstance(error, (InsufficientDisk, HubUnavailable)):  # for the operator
                _log.warning("%s was not downloaded: %s", model, error.message)
            refused = isinstance(error, AccessError)
            # A copy has no traceback, whose frames would keep the token in memory.
            report: events.Event = events.FetchFailed(key, attempt, copy(error), refused)
        except Exception:  # noqa: BLE001 a defect fails this model, not the worker
            _log.exception("the download of %s broke down", model)
            defect = InternalError("The download failed inside the router: tell the operator.")
            report = events.FetchFailed(key, attempt, defect, blames_credential=False)
        else:
            report = events.Fetched(key, attempt, snapshot.path, meter.size, snapshot.plan)
        finally:
            self._progress.end(attempt)
            meter.charge()
        self._report(report)


class FetchMeter:
    """Tracks one download: logs its progress, and charges its bytes to its caller.

    Tells the scheduler once when the small files are on disk.
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
        """Note the progress. The first call says what was on disk before."""
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
        """Charge the bytes downloaded since the last call."""
        if self._uncharged and self._action.caller is not None:
            self._report(events.Downloaded(self._action.caller, self._uncharged))
        self._uncharged = 0
