"""Downloads snapshots: one download per (repository, commit) at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from router.downloads.attempt import DownloadAttempt
from router.downloads.child_process import ChildProcess
from router.downloads.errors import missing_offline, storage_error
from router.downloads.fitness import SnapshotFitness, check_exists
from router.downloads.last_used import LastUsed
from router.downloads.listing import below
from router.downloads.local_snapshots import LocalSnapshots
from router.downloads.places import Place, Places
from router.downloads.request import DownloadRequest
from router.downloads.shared_download import SharedDownload
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, free_space
from router.downloads.terms import HEARTBEAT, DownloadTerms
from router.downloads.unfinished import UnfinishedDownloads
from router.errors import HubUnavailable, ModelTooLarge
from router.models import Access, ResolvedModel
from router.pool.interfaces import Callers, FetchProgress, Snapshot, the_operator
from router.repository.conditions import Conditions, Machine
from router.secrets import Token
from router.side_process import Aside

_log = logging.getLogger(__name__)

MAX_DOWNLOADS = 2  # at once, by default


class SnapshotDownloader:
    """Implements `router.pool.interfaces.Downloader`."""

    def __init__(
        self,
        cache: Path,
        environment: Mapping[str, str],
        *,
        max_model_bytes: int | None = None,
        allow_unsafe_weights: bool = False,
        caches: Sequence[Path] = (),
        private: LastUsed | None = None,
        last_used: LastUsed | None = None,
        unfinished: LastUsed | None = None,
        public: LastUsed | None = None,
        offline: bool = False,
        space: DiskSpace | None = None,
        places: Places | None = None,
        stall_timeout: float = 60.0,
        heartbeat: float = HEARTBEAT,
        free: Callable[[Path], int] = free_space,
        aside: Aside | None = None,
        machine: Machine | None = None,
    ) -> None:
        """Arguments:

        cache           the Hub cache directory to download to (`HF_HUB_CACHE`)
        environment     the router's; a child process gets only the part that it needs
        caches          all caches that may have a snapshot already, in order of preference
        private         records each use of a private model, before its files are written
        last_used       records each use of a snapshot in `cache`
        unfinished      records each download that has begun but not ended
        public          records that a model is public, each time it is fetched
        offline         download nothing, and record nothing new as public
        space           shares the disk among downloads; by default, all that is free
        places          limits how many downloads run at once; by default two
        stall_timeout   the most seconds of a download without a byte
        heartbeat       seconds; other workers on a shared volume declare this one dead after
                        a silence of 15 times as long
        free            measures the free bytes of a directory's disk
        aside           the side process that checks configurations; None: a thread does
        machine         the machine that engines run on; None: unknown, so any model fits
        """
        self._terms = DownloadTerms(
            cache, tuple(caches), max_model_bytes, allow_unsafe_weights, heartbeat
        )
        self._local = LocalSnapshots(self._terms, last_used)
        self._environment = environment
        self._private, self._public = private, public
        self._offline = offline
        self._fitness = SnapshotFitness(aside, machine)
        self._places = places or Places(MAX_DOWNLOADS)
        self._stall_timeout = stall_timeout
        self._snapshots = Snapshots(cache)
        self._unfinished = UnfinishedDownloads(unfinished, self._snapshots)
        self._space = space or DiskSpace(lambda: free(cache))
        self._shared: WeakValueDictionary[tuple[str, str], SharedDownload] = (
            WeakValueDictionary()
        )

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
        callers: Callers = the_operator,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> Snapshot:
        """Implements `Downloader.fetch`.

        If another call is downloading the same snapshot, this one waits for it and reports its
        progress. If that download fails, for example because of its token, this call tries
        with its own.
        """
        on = self._fitness.conditions(flags, claim)
        try:
            return await self._fetch(model, credential, progress, callers, on)
        except ModelTooLarge as error:
            if claim is not None:
                _log.error("%s is not served: %s", model, error.message)
            raise
        except OSError as error:
            failure = storage_error(error, model.repo_id)
            if failure is None:
                raise
            _log.error("the cache can't be used for %s: %s", model, error)
        raise failure

    async def _fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
        callers: Callers,
        conditions: Conditions | None,
    ) -> Snapshot:
        if model.path is not None:
            await asyncio.to_thread(check_exists, model.path)
            plan = await self._fitness.plan(model.path, conditions, operators=True)
            return Snapshot(model.path, plan)
        if self._private is not None and model.access is Access.PRIVATE:
            await asyncio.to_thread(self._private.record, model.repo_id, model.commit)
        shared = self._shared_download(model.repo_id, model.commit)
        with shared.joined(progress, callers, conditions):
            async with shared.lock:
                found = await asyncio.to_thread(self._local.find, model)
                if found is None:
                    found = await self._download(model, credential, shared, conditions)
        if found is None:
            raise HubUnavailable("The download was damaged on its way to the disk: try again.")
        if self._public is not None and not self._offline:
            await asyncio.to_thread(self._note_access, self._public, model)
        plan = await self._fitness.plan(found, conditions)
        if found == self._snapshots.path(model.repo_id, model.commit):
            await asyncio.to_thread(self._note_ref, model)
        size = await asyncio.to_thread(_size, found)
        progress(FetchProgress(size, size))
        return Snapshot(found, plan)

    @staticmethod
    def _note_access(public: LastUsed, model: ResolvedModel) -> None:
        note = public.record if model.access is Access.PUBLIC else public.forget
        note(model.repo_id, model.commit)

    def _note_ref(self, model: ResolvedModel) -> None:
        try:
            self._snapshots.refs.note(model.repo_id, model.commit, model.branch)
        except OSError as error:  # a read-only cache; or a branch `a` that became `a/b`
            _log.warning("no ref for %s was written to the cache: %s", model, error)

    @asynccontextmanager
    async def exclusive(self, repo_id: str, commit: str) -> AsyncIterator[None]:
        """Keep `fetch` from finding or downloading this snapshot during the block."""
        shared = self._shared_download(repo_id, commit)  # the dictionary's reference is weak
        async with shared.lock:
            yield

    def is_busy(self, repo_id: str, commit: str) -> bool:
        """Whether `fetch` or `exclusive` holds this snapshot's lock."""
        shared = self._shared.get((repo_id, commit))
        return shared is not None and shared.lock.locked()

    def _shared_download(self, repo_id: str, commit: str) -> SharedDownload:
        return self._shared.setdefault((repo_id, commit), SharedDownload())

    async def _download(
        self,
        model: ResolvedModel,
        credential: Token | None,
        shared: SharedDownload,
        conditions: Conditions | None,
    ) -> Path | None:
        """Download, in as many turns as it takes. None if the files were damaged."""
        if self._offline:
            raise missing_offline(model.repo_id)
        for turn in itertools.count():
            if self._places.full:
                shared.report(FetchProgress(0, 0, queued=True))
            async with self._places.place(shared.callers, turn) as place:
                # Another worker may have downloaded it meanwhile.
                found = await asyncio.to_thread(self._local.find, model)
                request = self._terms.request(model, credential, conditions)
                report = partial(shared.report, on=conditions)
                if found or await self._attempt(model, request, report, place):
                    break
        return found or await asyncio.to_thread(self._local.find, model)

    async def _attempt(
        self,
        model: ResolvedModel,
        request: DownloadRequest,
        progress: Callable[[FetchProgress], None],
        place: Place,
    ) -> bool:
        await asyncio.to_thread(self._unfinished.begin, model)
        attempt = DownloadAttempt(
            request,
            await ChildProcess.start(self._terms.cache, self._environment),
            self._snapshots,
            self._space,
            place,
            stall_timeout=self._stall_timeout,
        )
        try:
            return await attempt.run(progress)
        finally:
            await asyncio.to_thread(self._unfinished.end, model)


def _size(snapshot: Path) -> int:
    """The size of a snapshot in bytes."""
    return sum(file.stat().st_size for file in below(snapshot) if file.is_file())
