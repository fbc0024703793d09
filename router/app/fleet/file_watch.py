"""Watches the models file and the keys file: an operator can't send SIGHUP to a Ray actor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from router.config.sources import Sources

_EVERY = 5.0  # seconds between two checks

Seen = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """Calls `changed` after one of the files was written or replaced.

    It waits until two checks in a row give the same result, because a program may still be
    writing the file.
    """

    def __init__(self, sources: Sources, changed: Callable[[], Awaitable[None]]) -> None:
        """Make it when the files are first read."""
        self._paths = [one for one in (sources.models_file, sources.keys_file) if one]
        self._changed = changed
        self._taken = self._seen = self._stat()

    async def watch(self) -> None:
        """Check the files until canceled."""
        while self._paths:
            await asyncio.sleep(_EVERY)
            await self.look()

    async def look(self) -> None:
        # In a thread, because a network file system can hang.
        seen = await asyncio.to_thread(self._stat)
        if seen == self._seen and seen != self._taken:
            self._taken = seen
            await self._changed()
        self._seen = seen

    def _stat(self) -> Seen:
        return tuple(map(_stat, self._paths))


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links: a ConfigMap is one
    except OSError:
        return None
    # With `ctime`, because a change of permissions can make a file readable.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
