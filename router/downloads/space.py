"""Reserves disk space, so that simultaneous downloads don't count on the same bytes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from router.errors import InsufficientDisk

RESERVE = 1 << 30  # bytes that stay free, for logs and other users of the disk; at most ...
RESERVED_PART = 20  # ... a twentieth of the disk


def free_space(cache: Path) -> int:
    """Bytes that this user may still write to the disk of `cache`."""
    return shutil.disk_usage(existing(cache)).free


def reserve_of(cache: Path) -> int:
    """Bytes that downloads leave free on the disk of `cache`."""
    return min(RESERVE, shutil.disk_usage(existing(cache)).total // RESERVED_PART)


def existing(path: Path) -> Path:
    """The path, or its nearest parent that this user can see."""
    with suppress(OSError):  # the name is too long, or the folder is not readable
        if path.exists() or path == path.parent:
            return path
    return existing(path.parent)


Commit = tuple[str, str]  # a repository's id, and the commit


class RoomMaker(Protocol):
    """Removes snapshots to make room for the commit that `comes`.

    It keeps the `spared` repositories, because other downloads may need their files.
    """

    async def total(self) -> int:
        """Bytes of all snapshots."""
        ...

    async def can_free(self, needed: int, comes: Commit, spared: Collection[str]) -> bool:
        """Whether `needed` bytes can be freed."""
        ...

    async def make_room(self, needed: int, comes: Commit, spared: Collection[str]) -> None:
        """Free `needed` bytes, or none if that many can't be freed."""
        ...


class SpaceReservation:
    """The space of one download. The owner lowers `left` as it writes."""

    def __init__(self, space: DiskSpace) -> None:
        self._space = space
        self.repo_id = ""
        self.began = -1  # bytes on disk at the first call of `reserve`
        self.whole = 0  # bytes written since then, or still to be written
        self.left = 0  # bytes still to be written

    async def reserve(self, comes: Commit, size: int, done: int, total: int) -> int:
        """Reserve space for a download. Returns how many bytes it may write.

        `done` of `total` bytes are on the disk. If the rest fits, all of it is reserved; if
        not, other snapshots are removed for the next `size` bytes. Raises `InsufficientDisk`
        with the number of missing bytes. If it is known in advance that the rest can't fit,
        nothing is removed.
        """
        self.repo_id = comes[0]
        self.began = done if self.began < 0 else self.began
        self.left = await self._space.provide(self, comes, size, done, total)
        self.whole = done - self.began + self.left
        return self.left


class DiskSpace:
    """The free space of a disk, less the open reservations."""

    def __init__(
        self, free: Callable[[], int], *, reserve: int = 0, budget: int | None = None
    ) -> None:
        """`free` measures the disk's free bytes. `reserve`: bytes that stay free. `budget`:
        bytes for all snapshots together."""
        self._free, self._reserve, self._budget = free, reserve, budget
        self._reservations: set[SpaceReservation] = set()
        self._deciding = asyncio.Lock()  # two at once would remove too much
        self.room_maker: RoomMaker | None = None

    async def provide(
        self, to: SpaceReservation, comes: Commit, size: int, done: int, total: int
    ) -> int:
        """See `SpaceReservation.reserve`, the only caller."""
        if self._budget is not None and total > self._budget:
            raise InsufficientDisk(
                f"The model has {total:,} bytes; this worker keeps models of {self._budget:,} "
                "bytes in all on its disk. Use a smaller model."
            )
        rest = total - done
        async with self._deciding:
            missing = await self._missing(to, done, rest)
            if missing <= 0:
                return rest
            maker = self.room_maker
            spared = {each.repo_id for each in self._reservations} - {to.repo_id}
            if maker is None or not await maker.can_free(missing, comes, spared):
                raise _insufficient(rest, missing)
            missing = await self._missing(to, done, size)
            if missing > 0:
                await maker.make_room(missing, comes, spared)
                missing = await self._missing(to, done, size)
            if missing > 0:
                raise _insufficient(size, missing)
            return size

    async def _missing(self, to: SpaceReservation, done: int, needed: int) -> int:
        others = self._reservations - {to}
        left = sum(each.left for each in others)
        missing = needed + left + self._reserve - self._free()
        if self._budget is None or self.room_maker is None:
            return missing
        coming = sum(each.whole for each in others) + done - to.began + needed
        return max(missing, await self.room_maker.total() + coming - self._budget)

    @contextmanager
    def reservation(self) -> Iterator[SpaceReservation]:
        """A reservation for the duration of the block; empty until `reserve` is called."""
        reservation = SpaceReservation(self)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)


def _insufficient(needed: int, missing: int) -> InsufficientDisk:
    return InsufficientDisk(
        f"The model needs {needed:,} bytes of disk; {missing:,} bytes are missing. "
        "Use a worker with a larger disk, or a smaller model."
    )
