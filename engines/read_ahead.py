"""Reads a model's weights into the page cache while its engine's process starts.

SGLang imports for 15 to 25 s before it looks at the weights, and the disk is idle meanwhile.
What has been read by then comes from memory.
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
_CHUNK = 8 << 20  # bytes; between two of them, the reader can be told to stop
_LEAST = 64 << 20  # bytes of weights; fewer are read faster than a thread is worth
# Bytes a second: faster than a network disk, but half of what a fast local one gives, so that
# downloads and an engine that loads have theirs.
RATE = 3 << 30
# Of the memory that is free, the kernel's reclaimable pages included: the rest is for what the
# engine itself takes of the host.
_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class WeightPart:
    path: Path
    size: int  # bytes, from the beginning


def parts(snapshot: Path, room: int) -> tuple[WeightPart, ...]:
    """The weights to be read, in the order in which SGLang loads them, within `room` bytes.

    All or a beginning: what is read last would push out what was read first.
    """
    found: list[WeightPart] = []
    for path in sorted(snapshot.iterdir()):
        if path.suffix in _WEIGHTS and room > 0:
            size = min(path.stat().st_size, room)
            room -= size
            found.append(WeightPart(path, size))
    return tuple(found)


class WeightReader:
    """A thread that reads, until it is done or told to stop."""

    def __init__(self, snapshot: Path, room: int, rate: float = RATE) -> None:
        self._snapshot, self._room, self._rate = snapshot, room, rate
        self._told = threading.Event()
        self.read = 0  # bytes
        # A daemon: nobody waits for a disk that hangs.
        self.thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self._told.set()

    def _run(self) -> None:
        # A snapshot that is incomplete, or a disk at fault, is the engine's to report.
        with suppress(OSError):
            found = parts(self._snapshot, self._room)
            if sum(part.size for part in found) >= _LEAST:
                began = time.monotonic()
                for part in found:
                    self._read(part, began)
                seconds = time.monotonic() - began
                _log.info("read %d MiB of weights ahead in %.1f s", self.read >> 20, seconds)

    def _read(self, part: WeightPart, began: float) -> None:
        """Have the kernel read, two chunks ahead of where it is known to be: a read of the
        bytes themselves would only copy them."""
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
    """Starts engines with another launcher, and reads their weights meanwhile.

    Implements `EngineLauncher`. One model at a time: two would only slow each other down.
    """

    def __init__(self, launcher: EngineLauncher, free: Callable[[], int]) -> None:
        """`free` measures the host's memory."""
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
        """Read as long as the block lasts; the latest start's weights, if there are several."""
        if self._reader is not None:
            self._reader.stop()
        mine = self._reader = WeightReader(snapshot, int(self._free() * _SHARE))
        try:
            yield
        finally:
            mine.stop()
            if self._reader is mine:
                self._reader = None
