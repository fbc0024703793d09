"""Downloads snapshots: one download per (repository, commit) at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from router.downloads.attempt import DownloadAttempt
from router.downloads.check_config import check_config
from router.downloads.child_process import ChildProcess
from router.downloads.last_used import LastUsed
from router.downloads.request import DownloadRequest
from router.downloads.select_files import SAFE
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, free_space
from router.errors import HubUnavailable, UnsupportedModel
from router.models import Access, ResolvedModel
from router.pool.interfaces import FetchProgress
from router.secrets import Token


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
        last_used: LastUsed | None = None,
        stall_timeout: float = 60.0,
        heartbeat: float = 2.0,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        """Arguments:

        cache           the Hub cache directory to download to (`HF_HUB_CACHE`)
        environment     the router's; a child process gets only what it needs of it
        caches          all caches that may have a snapshot already, in order of preference
        last_used       records each use of a private model, before its files are written
        stall_timeout   seconds that a download may go without a byte
        heartbeat       seconds; other workers on a shared volume declare this one dead when
                        it was silent for 15 times as long
        free            measures the free bytes of the disk below a directory
        """
        self._cache = cache
        self._caches = tuple(dict.fromkeys((*caches, cache)))
        self._environment = environment
        self._last_used = last_used
        self._max_model_bytes = max_model_bytes
        self._allow_unsafe_weights = allow_unsafe_weights
        self._stall_timeout = stall_timeout
        self._heartbeat = heartbeat
        self._snapshots = Snapshots(cache)
        self._space = DiskSpace(lambda: free(cache))
        self._shared: WeakValueDictionary[tuple[str, str], _SharedDownload] = (
            WeakValueDictionary()
        )

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
    ) -> Path:
        """Implements `Downloader.fetch`.

        If another call downloads the same snapshot, this one reports its progress and waits
        for it. If that download fails, for its token say, this one tries with its own.
        """
        if model.path is not None:
            return await asyncio.to_thread(_local, model.path)
        if self._last_used is not None and model.access is Access.PRIVATE:
            await asyncio.to_thread(self._last_used.record, model.repo_id, model.commit)
        shared = self._shared_download(model.repo_id, model.commit)
        shared.listeners.append(progress)
        try:
            async with shared.lock:
                found = await asyncio.to_thread(self._find, model)
                if found is None:
                    while not await self._attempt(model, credential, shared.report):
                        pass  # another worker took the lock: the next attempt waits for it
                    found = await asyncio.to_thread(self._find, model)
        finally:
            shared.listeners.remove(progress)
        if found is None:
            raise HubUnavailable("The download was damaged on its way to the disk: try again.")
        await asyncio.to_thread(check_config, found)
        return found

    @asynccontextmanager
    async def exclusive(self, repo_id: str, commit: str) -> AsyncIterator[None]:
        """Keep `fetch` from finding or downloading this snapshot during the block."""
        shared = self._shared_download(repo_id, commit)  # the dictionary's reference is weak
        async with shared.lock:
            yield

    def _shared_download(self, repo_id: str, commit: str) -> _SharedDownload:
        return self._shared.setdefault((repo_id, commit), _SharedDownload())

    def _find(self, model: ResolvedModel) -> Path | None:
        for cache in self._caches:
            found = Snapshots(cache).find(model.repo_id, model.commit)
            # Weights that were allowed when they were downloaded may not be allowed now.
            if found and (self._allow_unsafe_weights or any(found.rglob(f"*{SAFE}"))):
                return found
        return None

    async def _attempt(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
    ) -> bool:
        attempt = DownloadAttempt(
            self._request(model, credential),
            await ChildProcess.start(self._cache, self._environment),
            self._snapshots,
            self._space,
            stall_timeout=self._stall_timeout,
        )
        return await attempt.run(progress)

    def _request(self, model: ResolvedModel, credential: Token | None) -> DownloadRequest:
        return DownloadRequest(
            repo_id=model.repo_id,
            commit=model.commit,
            token=credential.reveal() if credential else None,
            cache=str(self._cache),
            visible=model.access in (Access.PUBLIC, Access.GATED),
            max_bytes=self._max_model_bytes,
            unsafe_weights=self._allow_unsafe_weights,
            owner=secrets.token_hex(16),
            heartbeat=self._heartbeat,
            source_caches=tuple(map(str, self._caches)),
        )


class _SharedDownload:
    """The calls that want the same snapshot: one downloads it, the others wait."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.listeners: list[Callable[[FetchProgress], None]] = []

    def report(self, progress: FetchProgress) -> None:
        for listener in tuple(self.listeners):
            listener(progress)


def _local(directory: Path) -> Path:
    """The operator's own directory, unchanged. Raises `UnsupportedModel`."""
    if not (directory / "config.json").is_file():
        raise UnsupportedModel(
            "The operator's directory for this model does not exist, or has no config.json. "
            "Ask the operator."
        )
    return directory
