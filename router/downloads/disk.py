"""The download directory of a worker, with all that keeps it in order."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from router.downloads.downloader import SnapshotDownloader
from router.downloads.eviction import SnapshotEviction
from router.downloads.last_used import ALL, PRIVATE, PUBLIC, UNFINISHED, LastUsed
from router.downloads.operators import OperatorsSnapshots
from router.downloads.removal import SnapshotRemoval, SnapshotUse
from router.downloads.retention import PrivateModelRetention
from router.downloads.space import DiskSpace, free_space, reserve_of
from router.models import ModelRef


class Disk:
    """Puts together what belongs to one Hub cache directory.

    `budget` is in bytes. `operators`: the models that never leave to make room.
    `private_ttl`: seconds after which unused private models' files leave; None: never.
    """

    def __init__(
        self,
        cache: Path,
        *,
        budget: int | None,
        operators: Iterable[ModelRef],
        private_ttl: float | None,
    ) -> None:
        self._cache, self._operators = cache, OperatorsSnapshots(operators)
        self._private_ttl = private_ttl
        self.private = LastUsed(cache, PRIVATE)
        self.last_used = LastUsed(cache, ALL, owner=secrets.token_hex(16))
        self.unfinished = LastUsed(cache, UNFINISHED)
        self.public = LastUsed(cache, PUBLIC)
        self.space = DiskSpace(
            lambda: free_space(cache), reserve=reserve_of(cache), budget=budget
        )

    def kept_in_order(
        self, pool: SnapshotUse, downloads: SnapshotDownloader
    ) -> Iterator[Callable[[], Awaitable[None]]]:
        """The work that goes on in the background."""
        cache = self._cache
        records = (self.private, self.last_used, self.unfinished, self.public)
        removal = SnapshotRemoval(cache, pool=pool, downloads=downloads, records=records)
        self.space.room_maker = eviction = SnapshotEviction(
            cache,
            last_used=self.last_used,
            unfinished=self.unfinished,
            pool=pool,
            removal=removal,
            operators=self._operators,
        )
        yield eviction.run
        if self._private_ttl is not None:
            yield PrivateModelRetention(
                self.private, ttl=self._private_ttl, pool=pool, removal=removal
            ).run
