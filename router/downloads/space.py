"""Disk space, reserved so that simultaneous downloads don't count on the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import InsufficientDisk


def free_space(cache: Path) -> int:
    """Bytes that this user may still write to the disk of `cache`."""
    return shutil.disk_usage(cache).free


class SpaceReservation:
    """The space that one download still needs."""

    def __init__(self, space: DiskSpace) -> None:
        self._space = space
        self.left = 0  # bytes still to be written; the owner lowers it as it writes

    def reserve(self, needed: int) -> None:
        """Reserve `needed` bytes. Raises `InsufficientDisk` with the number that is missing."""
        missing = needed - self._space.available()
        if missing > 0:
            raise InsufficientDisk(
                f"The model needs {needed:,} bytes of disk; {missing:,} bytes are missing. "
                "Use a worker with a larger disk, or a smaller model."
            )
        self.left = needed


class DiskSpace:
    """The free space of a disk, less the open reservations."""

    def __init__(self, free: Callable[[], int]) -> None:
        """`free` measures the disk's free bytes."""
        self._free = free
        self._reservations: set[SpaceReservation] = set()

    def available(self) -> int:
        return self._free() - sum(each.left for each in self._reservations)

    @contextmanager
    def reservation(self) -> Iterator[SpaceReservation]:
        """A reservation for the duration of the block; empty until `reserve` is called."""
        reservation = SpaceReservation(self)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)
