"""Downloads snapshots: one download per (repository, commit) at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from router.downloads.attempt import DownloadAttempt, Inspected
from router.downloads.child_process import ChildProcess
from router.downloads.errors import storage_error
from router.downloads.fitness import SnapshotFitness, check_exists
from router.downloads.inspection import files_of, inspection
from router.downloads.last_used import LastUsed
from router.downloads.places import Place, Places
from router.downloads.request import DownloadRequest
from router.downloads.shared_download import SharedDownload
from router.downloads.snapshots import Snapshots, has_safe_weights
from router.downloads.space import DiskSpace, free_space
from router.downloads.unfinished import UnfinishedDownloads
from router.errors import HubUnavailable, ModelNotAllowed, ModelTooLarge
from router.models import Access, ResolvedModel
from router.pool.interfaces import Callers, FetchProgress, Snapshot, the_operator
from router.repository.conditions import Conditions, Machine
from router.repository.memory_plan import most_stored
from router.repository.spread import widest
from router.secrets import Token
from router.side_process import Aside

_log = logging.getLogger(__name__)

MAX_DOWNLOADS = 2  # at once, where no setting says otherwise


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
        heartbeat: float = 2.0,
        free: Callable[[Path], int] = free_space,
        aside: Aside | None = None,
        machine: Machine | None = None,
    ) -> None:
        """Arguments:

        cache           the Hub cache directory to download to (`HF_HUB_CACHE`)
        environment     the router's; a child process gets only what it needs of it
        caches          all caches that may have a snapshot already, in order of preference
        private         records each use of a private model, before its files are written
        last_used       records each use of a snapshot in `cache`
        unfinished      records each download that has begun and did not end
        public          records that a model is public, each time it is fetched
        offline         nothing may be downloaded, and nothing new be recorded as public
        space           shares the disk among downloads; by default, as much as is free
        places          how many downloads run at once; by default two
        stall_timeout   seconds that a download may go without a byte
        heartbeat       seconds; other workers on a shared volume declare this one dead when
                        it was silent for 15 times as long
        free            measures the free bytes of the disk below a directory
        aside           checks configurations, where there is an event loop to be kept free
        machine         what engines run on; None: unknown, so any model may be served
        """
        self._cache = cache
        self._caches = tuple(dict.fromkeys((*caches, cache)))
        self._environment = environment
        self._private, self._last_used, self._public = private, last_used, public
        self._offline = offline
        self._max_model_bytes = max_model_bytes
        self._allow_unsafe_weights = allow_unsafe_weights
        self._fitness = SnapshotFitness(aside, machine)
        self._places = places or Places(MAX_DOWNLOADS)
        self._stall_timeout = stall_timeout
        self._heartbeat = heartbeat
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

        If another call downloads the same snapshot, this one reports its progress and waits
        for it. If that download fails, for its token say, this one tries with its own.
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
                found = await asyncio.to_thread(self._find, model)
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

    @asynccontextmanager
    async def inspected(
        self,
        model: ResolvedModel,
        credential: Token | None,
        told: Inspected,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> AsyncIterator[Snapshot]:
        """What `fetch` would bring and check, without the weights: the small files, for the
        block. Writes nothing to any cache. Raises what `fetch` raises.

        `told` hears of each file that an engine needs, also before a refusal.
        """
        on = self._fitness.conditions(flags, claim)
        found = model.path or await asyncio.to_thread(self._find, model)
        if found is not None:
            await asyncio.to_thread(check_exists, found)
            for file in await asyncio.to_thread(files_of, found):
                told(file, True)  # noqa: FBT003 - it is on the disk
            operators = model.path is not None
            yield Snapshot(found, await self._fitness.plan(found, on, operators=operators))
            return
        self._refuse_offline(model)
        request = self._request(model, credential, on)
        shared = partial(self._snapshots.has, model.repo_id, model.commit)
        async with inspection(
            request, self._environment, lambda file, found: told(file, found or shared(file))
        ) as snapshot:
            yield snapshot

    @staticmethod
    def _note_access(public: LastUsed, model: ResolvedModel) -> None:
        note = public.record if model.access is Access.PUBLIC else public.forget
        note(model.repo_id, model.commit)

    def _note_ref(self, model: ResolvedModel) -> None:
        try:
            self._snapshots.refs.note(model.repo_id, model.commit, model.branch)
        except OSError as error:  # a read-only cache; or a branch `a` that became `a/b`
            _log.warning("%s gets no ref in the cache: %s", model, error)

    @asynccontextmanager
    async def exclusive(self, repo_id: str, commit: str) -> AsyncIterator[None]:
        """Keep `fetch` from finding or downloading this snapshot during the block."""
        shared = self._shared_download(repo_id, commit)  # the dictionary's reference is weak
        async with shared.lock:
            yield

    def is_busy(self, repo_id: str, commit: str) -> bool:
        """Whether `fetch` works on this snapshot, or `exclusive` keeps it from it."""
        shared = self._shared.get((repo_id, commit))
        return shared is not None and shared.lock.locked()

    def _shared_download(self, repo_id: str, commit: str) -> SharedDownload:
        return self._shared.setdefault((repo_id, commit), SharedDownload())

    def _find(self, model: ResolvedModel) -> Path | None:
        for cache in self._caches:
            found = Snapshots(cache).find(model.repo_id, model.commit)
            # Weights that were allowed when they were downloaded may not be allowed now.
            if found and (self._allow_unsafe_weights or has_safe_weights(found)):
                if cache != self._cache or self._last_used is None:
                    return found
                self._last_used.record(model.repo_id, model.commit)
                # Another worker may have begun to remove it before that.
                return self._snapshots.find(model.repo_id, model.commit)
        return None

    async def _download(
        self,
        model: ResolvedModel,
        credential: Token | None,
        shared: SharedDownload,
        conditions: Conditions | None,
    ) -> Path | None:
        """Download, in as many turns as it takes. None if it was damaged."""
        self._refuse_offline(model)
        for turn in itertools.count():
            if self._places.full:
                shared.report(FetchProgress(0, 0, queued=True))
            async with self._places.place(shared.callers, turn) as place:
                # Another worker may have brought it meanwhile.
                found = await asyncio.to_thread(self._find, model)
                request = self._request(model, credential, conditions)
                report = partial(shared.report, on=conditions)
                if found or await self._attempt(model, request, report, place):
                    break
        return found or await asyncio.to_thread(self._find, model)

    def _refuse_offline(self, model: ResolvedModel) -> None:
        if self._offline:
            raise ModelNotAllowed(
                f"The files of {model.repo_id} are not all on the disk of this worker, and it "
                "is offline (HF_HUB_OFFLINE): ask the operator."
            )

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
            await ChildProcess.start(self._cache, self._environment),
            self._snapshots,
            self._space,
            place,
            stall_timeout=self._stall_timeout,
        )
        try:
            return await attempt.run(progress)
        finally:
            await asyncio.to_thread(self._unfinished.end, model)

    def _most_bytes(self, conditions: Conditions | None) -> int | None:
        """Of a model's files. What is certain to be too much, where no setting says less."""
        if self._max_model_bytes is not None or conditions is None:
            return self._max_model_bytes
        return most_stored(conditions, widest(conditions))

    def _request(
        self, model: ResolvedModel, credential: Token | None, conditions: Conditions | None
    ) -> DownloadRequest:
        return DownloadRequest(
            repo_id=model.repo_id,
            commit=model.commit,
            token=credential.reveal() if credential else None,
            cache=str(self._cache),
            visible=model.access in (Access.PUBLIC, Access.GATED),
            max_bytes=self._most_bytes(conditions),
            unsafe_weights=self._allow_unsafe_weights,
            owner=secrets.token_hex(16),
            heartbeat=self._heartbeat,
            source_caches=tuple(map(str, self._caches)),
            conditions=conditions,
        )


def _size(snapshot: Path) -> int:
    """The size of a snapshot in bytes."""
    return sum(file.stat().st_size for file in snapshot.rglob("*") if file.is_file())
