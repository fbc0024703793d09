"""Removes unused snapshots, safely for all workers that share the disk."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots
from router.downloads.volume_lock import LockContender
from router.tasks import finish


class SnapshotRemoval:
    """Removes snapshots from one Hub cache directory, and touches nothing outside it."""

    def __init__(
        self,
        cache: Path,
        *,
        forget: Callable[[str, str], bool],
        downloads: SnapshotDownloader,
        records: Collection[LastUsed],
    ) -> None:
        """`forget` asks the engine pool to forget a snapshot, and returns whether it has.

        `records` are removed together with a snapshot."""
        self._snapshots, self._records = Snapshots(cache), records
        self._forget, self._downloads = forget, downloads
        # By repository. Kept between calls, because a contender needs many polls to declare
        # the holder of a lock dead.
        self._contenders: dict[str, LockContender] = {}

    async def remove(
        self,
        repo_id: str,
        commit: str,
        unless: Callable[[], bool],
        *,
        abandoned_after: float,
        locked: bool = False,
    ) -> bool:
        """Remove a snapshot. Returns whether it is gone.

        It stays if an engine or a download needs it, if another worker works on the
        repository, or if `unless` returns True. `unless` is called when workers can no longer
        find the snapshot. Partial files older than `abandoned_after` seconds are removed too.
        `locked`: a waiting download of this worker holds the lock on the repository. Raises
        `OSError`.
        """
        # No await before the lock is taken, so that a later request waits for the lock.
        if self._downloads.is_busy(repo_id, commit):
            return False
        if not self._forget(repo_id, commit):
            return False
        gone = False

        async def remove() -> None:
            nonlocal gone
            work = self._remove_under_lock if locked else self._remove
            gone = await asyncio.to_thread(work, repo_id, commit, unless, abandoned_after)

        async with self._downloads.exclusive(repo_id, commit):
            await finish(remove())
        return gone

    def _remove(
        self, repo_id: str, commit: str, unless: Callable[[], bool], abandoned_after: float
    ) -> bool:
        lock = self._contender(repo_id).poll()
        if lock is None:
            return False  # another worker works on this repository
        try:
            for blob in self._snapshots.partials(repo_id):  # left by workers that died
                with suppress(FileNotFoundError):
                    if lock.age_of(blob) >= abandoned_after:
                        blob.unlink()
            return self._remove_under_lock(repo_id, commit, unless)
        finally:
            del self._contenders[repo_id]
            lock.release()

    def _remove_under_lock(
        self, repo_id: str, commit: str, unless: Callable[[], bool], _: float = 0.0
    ) -> bool:
        gone = self._snapshots.remove(repo_id, commit, unless=unless)
        if gone:
            for record in self._records:
                record.forget(repo_id, commit)
        return gone

    def _contender(self, repo_id: str) -> LockContender:
        folder = self._snapshots.lock_folder(repo_id)
        return self._contenders.setdefault(
            repo_id, LockContender(folder, secrets.token_hex(16))
        )
