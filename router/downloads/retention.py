"""Removal of private models from the disk when they were not used for a while.

Applies to models that only callers named; the operator's models stay. A model is removed
once no entitled caller has used it for the time to live, and no engine has it loaded.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots
from router.downloads.volume_lock import LockContender
from router.models import EngineKey

_log = logging.getLogger(__name__)

MAX_INTERVAL = 60.0  # seconds between two sweeps; less if the time to live is short


class SnapshotUse(Protocol):
    """What retention needs of the engine pool."""

    def unused_for(self) -> Mapping[EngineKey, float]: ...

    def forget_snapshot(self, repo_id: str, commit: str) -> bool: ...


class PrivateModelRetention:
    """Removes private models from one Hub cache directory."""

    def __init__(
        self,
        cache: Path,
        last_used: LastUsed,
        *,
        ttl: float,
        pool: SnapshotUse,
        downloads: SnapshotDownloader,
    ) -> None:
        """`ttl` is in seconds. Nothing outside `cache` is touched."""
        self._snapshots, self._last_used, self._ttl = Snapshots(cache), last_used, ttl
        self._pool, self._downloads = pool, downloads
        # By repository. Kept between sweeps, because a contender needs many polls to
        # declare a lock's holder dead.
        self._contenders: dict[str, LockContender] = {}

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep periodically, forever."""
        while True:
            await sleep(min(MAX_INTERVAL, self._ttl / 4))
            try:
                await self.sweep()
            except OSError as error:  # a faulty volume must not end the worker
                _log.error("private files could not be removed: %s", error.strerror)

    async def sweep(self) -> None:
        """Remove every model that is due. Raises `OSError`."""
        for repo_id, commit in await asyncio.to_thread(self._due, self._pool.unused_for()):
            # No await between the two: a request that arrives later waits for the lock.
            if self._pool.forget_snapshot(repo_id, commit):
                async with self._downloads.exclusive(repo_id, commit):
                    await asyncio.to_thread(self._remove, repo_id, commit)

    def _due(self, unused: Mapping[EngineKey, float]) -> list[tuple[str, str]]:
        """Update the records from the pool; return the models that are due."""
        listed = {(key.repo_id, key.commit) for key in unused if key.listed}
        for key, seconds in unused.items():
            self._last_used.update(key.repo_id, key.commit, seconds)
        for model in listed:
            self._last_used.forget(*model)
        return [model for model in self._last_used.all() if not self._recently_used(*model)]

    def _remove(self, repo_id: str, commit: str) -> None:
        lock = self._contender(repo_id).poll()
        if lock is None:
            return  # another worker works on this repository; try at the next sweep
        try:
            recently_used = partial(self._recently_used, repo_id, commit)
            if not self._snapshots.remove(repo_id, commit, unless=recently_used):
                return
            for blob in self._snapshots.partials(repo_id):  # left by workers that died
                with suppress(FileNotFoundError):
                    if lock.age_of(blob) >= self._ttl:
                        blob.unlink()
            self._last_used.forget(repo_id, commit)
        finally:
            del self._contenders[repo_id]
            lock.release()
        _log.info("removed %s@%s from the disk: it was not used", repo_id, commit[:12])

    def _contender(self, repo_id: str) -> LockContender:
        folder = self._snapshots.lock_folder(repo_id)
        return self._contenders.setdefault(
            repo_id, LockContender(folder, secrets.token_hex(16))
        )

    def _recently_used(self, repo_id: str, commit: str) -> bool:
        return self._last_used.seconds_ago(repo_id, commit) < self._ttl
