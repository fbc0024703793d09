"""Private models that only callers named leave the disk, once nobody who may use them has
asked for them for so long, and their engines are gone."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from router.downloads.last_asked import LastAsked
from router.downloads.snapshots import Snapshots
from router.downloads.volume_lock import Queue
from router.models import EngineKey

_log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between two looks, where the time to live is not short itself


class Pool(Protocol):
    """What this needs of `router.pool.pool`."""

    def unused_for(self) -> Mapping[EngineKey, float]: ...

    def forget_snapshot(self, repo_id: str, commit: str) -> bool: ...


class Downloads(Protocol):
    """What this needs of `router.downloads.downloader`."""

    def alone(self, repo_id: str, commit: str) -> AbstractAsyncContextManager[None]: ...


class Removal:
    def __init__(
        self,
        cache: Path,
        last_asked: LastAsked,
        *,
        ttl: float,
        pool: Pool,
        downloads: Downloads,
    ) -> None:
        """`ttl` is in seconds; what lies elsewhere than in `cache` is not this worker's."""
        self._snapshots, self._last_asked, self._ttl = Snapshots(cache), last_asked, ttl
        self._pool, self._downloads = pool, downloads
        # By repository; kept, because it takes many looks to find a holder dead.
        self._queues: dict[str, Queue] = {}

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            await sleep(min(EVERY, self._ttl / 4))
            try:
                await self.sweep()
            except OSError as error:  # the volume is unwell: that ends no worker
                _log.error("private files could not be removed: %s", error.strerror)

    async def sweep(self) -> None:
        for repo_id, commit in await asyncio.to_thread(self._due, self._pool.unused_for()):
            # Nothing is awaited before the turn is taken: who asks from here on waits for it.
            if self._pool.forget_snapshot(repo_id, commit):
                async with self._downloads.alone(repo_id, commit):
                    await asyncio.to_thread(self._remove, repo_id, commit)

    def _due(self, unused: Mapping[EngineKey, float]) -> list[tuple[str, str]]:
        """What is to go. Notes when the others were in use; the operator's stay."""
        listed = {(key.repo_id, key.commit) for key in unused if key.listed}
        for key, seconds in unused.items():
            self._last_asked.renew(key.repo_id, key.commit, seconds)
        for model in listed:
            self._last_asked.forget(*model)
        return [model for model in self._last_asked.all() if not self._wanted(*model)]

    def _remove(self, repo_id: str, commit: str) -> None:
        lease = self._queue(repo_id).look()
        if lease is None:
            return  # another worker is at this repository: later
        try:
            wanted = partial(self._wanted, repo_id, commit)
            if not self._snapshots.remove(repo_id, commit, unless=wanted):
                return
            for blob in self._snapshots.partials(repo_id):  # of workers that died
                with suppress(FileNotFoundError):
                    if lease.age_of(blob) >= self._ttl:
                        blob.unlink()
            self._last_asked.forget(repo_id, commit)
        finally:
            del self._queues[repo_id]
            lease.free()
        _log.info("%s@%s is off the disk: nobody has asked for it", repo_id, commit[:12])

    def _queue(self, repo_id: str) -> Queue:
        folder = self._snapshots.leases(repo_id)
        return self._queues.setdefault(repo_id, Queue(folder, secrets.token_hex(16)))

    def _wanted(self, repo_id: str, commit: str) -> bool:
        return self._last_asked.ago(repo_id, commit) < self._ttl
