"""One attempt to download a snapshot, with one child process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from router.downloads.child_process import ChildProcess
from router.downloads.errors import from_fields
from router.downloads.places import Place
from router.downloads.request import DownloadRequest
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, SpaceReservation
from router.downloads.volume_lock import LockLost, VolumeLock
from router.errors import FitError, HubUnavailable
from router.models import MemoryPlan
from router.pool.interfaces import FetchProgress, Snapshot
from router.repository.files import RemoteFile
from router.tasks import finish

_log = logging.getLogger(__name__)

START_TIMEOUT = 60.0  # seconds for a Python process to start on a busy machine
GLANCE = 1.0  # seconds between two checks whether another download needs the place

Inspected = Callable[[RemoteFile, bool], None]


class _TurnOver(Exception):
    """Another download needs the place."""


class DownloadAttempt:
    """Follows one child process, and cleans up after it."""

    def __init__(
        self,
        request: DownloadRequest,
        child: ChildProcess,
        snapshots: Snapshots,
        space: DiskSpace,
        place: Place,
        *,
        stall_timeout: float,
        inspected: Inspected | None = None,
    ) -> None:
        """`stall_timeout`: the most seconds of silence from the child. `inspected` is called
        with each file of an inspection, and whether it is on the disk."""
        self._request = request
        self._child = child
        self._snapshots = snapshots
        self._space = space
        self._place = place
        self._stall_timeout, self._inspected = stall_timeout, inspected
        self._blobs_before: frozenset[str] | None = None  # None until the child may download

    async def run(self, progress: Callable[[FetchProgress], None]) -> bool:
        """Download. False if it must be tried again, because another worker took the lock or
        another download needs the place.

        Raises the child's error, `InsufficientDisk`, or `HubUnavailable` if the child stalls
        or dies. When this returns or raises, the child has ended and its partial files are
        gone. Complete files stay for the next attempt, except after a cancellation, a lack of
        space, or if the model can't be served anyway.
        """
        discard = False
        try:
            with self._space.reservation() as reservation:
                self._child.send(asdict(self._request))
                return await self._follow(reservation, progress)
        except _TurnOver:
            return False
        except (asyncio.CancelledError, FitError):
            discard = True
            raise
        finally:
            await finish(self._clean_up(discard=discard))

    async def _follow(
        self, reservation: SpaceReservation, progress: Callable[[FetchProgress], None]
    ) -> bool:
        timeout, done, total, due = START_TIMEOUT, 0, 0, 0
        described: Snapshot | None = None
        while True:
            event = await self._next_event(timeout)
            timeout = self._stall_timeout
            match event:
                case {"event": "waiting", "done": int(done), "total": int(total)}:
                    self._place.note(done)
                    progress(FetchProgress(min(done, total), total))
                case {
                    "event": "plan",
                    "next": int(size),
                    "done": int(done),
                    "total": int(total),
                }:
                    due = done + await self._provide(reservation, size, done, total)
                    self._place.note(done)
                    progress(FetchProgress(done, total, described=described))
                case {"event": "described", "plan": plan}:
                    described = self._described(plan)
                    progress(FetchProgress(min(done, total), total, described=described))
                case {"event": "progress", "done": int(done)}:
                    reservation.left = max(0, due - done)
                    self._place.note(done)
                    progress(FetchProgress(min(done, total), total, described=described))
                case {"event": "done" | "lock_lost" as how}:
                    return bool(how == "done")
                case {
                    "event": "failed",
                    "code": code,
                    "message": text,
                    "retry_after": delay,
                    "cause": cause,
                }:
                    if cause:
                        _log.error("the cache can't be used: %s", cause)
                    raise from_fields(code, text, delay)
                case None:
                    raise HubUnavailable("The download ended unexpectedly: try again.")

    def _described(self, plan: dict[str, int] | None) -> Snapshot:
        path = self._snapshots.path(self._request.repo_id, self._request.commit)
        return Snapshot(path, MemoryPlan(**plan) if plan else None)

    async def _provide(
        self, reservation: SpaceReservation, size: int, done: int, total: int
    ) -> int:
        """Reserve space for the next bytes, and let the child download them."""
        comes = (self._request.repo_id, self._request.commit)
        provided = await reservation.reserve(comes, size, done, total)
        if self._blobs_before is None:
            self._blobs_before = self._snapshots.blobs(self._request.repo_id)
        self._child.send("start")
        return provided

    async def _next_event(self, within: float) -> dict[str, Any] | None:
        left = within
        while left > 0:
            if self._place.is_over():
                raise _TurnOver
            glance = min(left, GLANCE)
            try:
                async with asyncio.timeout(glance):
                    event = await self._child.receive()
            except TimeoutError:
                left -= glance  # counted, not measured: the worker itself may have been frozen
                continue
            if event is None or event["event"] != "file":
                return event
            left = within
            if self._inspected is not None:
                file = RemoteFile(event["name"], event["size"], event["blob"])
                self._inspected(file, event["on_disk"])
        raise HubUnavailable(
            "The download from the Hugging Face Hub came to a halt: try again."
        )

    async def _clean_up(self, *, discard: bool) -> None:
        partials = await self._child.end()
        try:
            await asyncio.to_thread(self._remove_files, partials, discard=discard)
        except OSError as error:  # only logged: the download's own error says more
            _log.error("an unfinished download could not be removed: %s", error)

    def _remove_files(self, partials: Iterable[str], *, discard: bool) -> None:
        repo_id, commit = self._request.repo_id, self._request.commit
        self._snapshots.remove_partials(repo_id, partials)
        lock = VolumeLock.held_by(self._request.owner, self._snapshots.lock_folder(repo_id))
        if lock is None:
            return  # the files belong to another worker now
        try:
            with suppress(LockLost):
                lock.heartbeat()  # other workers wait during the cleanup
                if discard and self._blobs_before is not None and not self._is_complete():
                    self._snapshots.discard(repo_id, commit, self._blobs_before)
        finally:
            lock.release()

    def _is_complete(self) -> bool:
        return self._snapshots.find(self._request.repo_id, self._request.commit) is not None
