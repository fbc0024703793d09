"""Reads a model's weights into the page cache while its engine's process starts.

SGLang imports for 15 to 25 s before it reads the weights, and the disk is idle meanwhile. The
part that this module has read by then comes from memory.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from router.models import EngineSpec
from router.pool.interfaces import Engine, EngineLauncher, Gate
from router.scheduler.actions import Allotment

_log = logging.getLogger(__name__)

_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
_CHUNK = 8 << 20  # bytes; the reader can stop between two chunks
_LEAST = 64 << 20  # bytes of weights; a thread is not worth it for fewer
# Bytes per second: faster than a network disk, but half the speed of a fast local disk, so
# that downloads and an engine that loads get their share.
RATE = 3 << 30
# Of the available memory, including reclaimable pages. The engine's processes need the rest.
_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class WeightPart:
    path: Path
    size: int  # bytes, from the beginning


def parts(snapshot: Path, room: int) -> tuple[WeightPart, ...]:
    """The weight files to read, in SGLang's loading order, up to `room` bytes in total.

    The list stops there because later reads would push earlier ones out of the page cache.
    """
    found: list[WeightPart] = []
    for path in sorted(snapshot.iterdir()):
        if path.suffix in _WEIGHTS and room > 0:
            size = min(path.stat().st_size, room)
            room -= size
            if size:
                found.append(WeightPart(path, size))
    return tuple(found)


class WeightReader:
    """A thread that reads, until it is done or told to stop."""

    def __init__(self, snapshot: Path, room: int, rate: float = RATE) -> None:
        self._snapshot, self._room, self._rate = snapshot, room, rate
        self._told = threading.Event()
        self.read = 0  # bytes
        # A daemon, so that a disk that hangs does not delay the router's exit.
        self.thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self._told.set()

    def _run(self) -> None:
        # If the snapshot is incomplete or the disk fails, the engine reports it.
        with suppress(OSError):
            found = parts(self._snapshot, self._room)
            if sum(part.size for part in found) >= _LEAST:
                began = time.monotonic()
                for part in found:
                    self._read(part, began)
                seconds = time.monotonic() - began
                _log.info("read %d MiB of weights ahead in %.1f s", self.read >> 20, seconds)

    def _read(self, part: WeightPart, began: float) -> None:
        """Ask the kernel to read, up to two chunks ahead: reading the bytes would copy them."""
        with part.path.open("rb", buffering=0) as file:
            number = file.fileno()
            for start in range(0, part.size, _CHUNK):
                if self._told.is_set():
                    return
                length = min(_CHUNK, part.size - start)
                os.posix_fadvise(number, start, length, os.POSIX_FADV_WILLNEED)
                os.pread(number, 1, max(0, start - 1))  # waits for the chunk before
                self.read += length
                ahead = self.read / self._rate - (time.monotonic() - began)
                if ahead > 0:
                    self._told.wait(ahead)
            os.pread(number, 1, part.size - 1)


class ReadAhead:
    """Starts engines with another launcher and reads their weights meanwhile.

    Implements `EngineLauncher`. It reads for one model at a time, because two readers would
    only slow each other down.
    """

    def __init__(self, launcher: EngineLauncher, free: Callable[[], int]) -> None:
        """`free` returns the available memory of the host, in bytes."""
        self._launcher, self._free = launcher, free
        self._reader: WeightReader | None = None

    async def start(
        self,
        spec: EngineSpec,
        snapshot: Path,
        allotment: Allotment,
        gate: Gate | None = None,
    ) -> Engine:
        with self._ahead(snapshot):
            return await self._launcher.start(spec, snapshot, allotment, gate)

    @contextmanager
    def _ahead(self, snapshot: Path) -> Iterator[None]:
        """Read this model's weights until the block ends or another start begins."""
        if self._reader is not None:
            self._reader.stop()
        mine = self._reader = WeightReader(snapshot, int(self._free() * _SHARE))
        try:
            yield
        finally:
            mine.stop()
            if self._reader is mine:
                self._reader = None
