"""The download directory of a worker, and the parts that manage it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from router.downloads.downloader import SnapshotDownloader
from router.downloads.eviction import SnapshotEviction, SnapshotUse
from router.downloads.last_used import ALL, PRIVATE, PUBLIC, UNFINISHED, LastUsed
from router.downloads.operators import OperatorsSnapshots
from router.downloads.removal import SnapshotRemoval
from router.downloads.retention import PrivateModelRetention
from router.downloads.space import DiskSpace, free_space, reserve_of
from router.models import ModelRef


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The use of the download directory, in bytes.

    `used` by all snapshots; `budget` for them, if the operator has set one; `free` on the whole
    disk; `reserve` of these must stay free.
    """

    used: int
    budget: int | None
    free: int
    reserve: int


class Disk:
    """Connects the parts for one Hub cache directory.

    `budget` is in bytes. `operators`: models that are never removed to make room.
    `private_ttl`: seconds until an unused private model's files are removed; None: never.
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
        self._private_ttl, self._budget = private_ttl, budget
        self._eviction: SnapshotEviction | None = None
        self.private = LastUsed(cache, PRIVATE)
        self.last_used = LastUsed(cache, ALL, owner=secrets.token_hex(16))
        self.unfinished = LastUsed(cache, UNFINISHED)
        self.public = LastUsed(cache, PUBLIC)
        self.space = DiskSpace(
            lambda: free_space(cache), reserve=reserve_of(cache), budget=budget
        )

    def name_operators(self, refs: Iterable[ModelRef]) -> None:
        """Replace the models that are never removed to make room."""
        self._operators.name(refs)

    async def usage(self) -> DiskUsage:
        """Measure now, which reads the file list of every snapshot. Raises `OSError`."""
        used = await self._eviction.total() if self._eviction else 0
        free = await asyncio.to_thread(free_space, self._cache)
        reserve = await asyncio.to_thread(reserve_of, self._cache)
        return DiskUsage(used, self._budget, free, reserve)

    def kept_in_order(
        self,
        use: SnapshotUse,
        forget: Callable[[str, str], bool],
        downloads: SnapshotDownloader,
    ) -> Iterator[Callable[[], Awaitable[None]]]:
        """The background work of this directory. `forget`: see `SnapshotRemoval`."""
        cache = self._cache
        records = (self.private, self.last_used, self.unfinished, self.public)
        removal = SnapshotRemoval(cache, forget=forget, downloads=downloads, records=records)
        self.space.room_maker = self._eviction = eviction = SnapshotEviction(
            cache,
            last_used=self.last_used,
            unfinished=self.unfinished,
            use=use,
            removal=removal,
            operators=self._operators,
        )
        yield eviction.run
        if self._private_ttl is not None:
            yield PrivateModelRetention(
                self.private, ttl=self._private_ttl, unused_for=use.unused_for, removal=removal
            ).run
