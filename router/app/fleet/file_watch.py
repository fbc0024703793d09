"""Watches the files of keys and models: a process of Ray's gets no SIGHUP from an operator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from router.config.sources import Sources

_EVERY = 5.0  # seconds between two looks

Seen = tuple[tuple[int, ...] | None, ...]


class FileWatch:
    """Calls `changed` after one of the files was written or replaced.

    A file that is being written is left alone until two looks in a row see the same.
    """

    def __init__(self, sources: Sources, changed: Callable[[], Awaitable[None]]) -> None:
        """To be made when the files are read first."""
        self._paths = [one for one in (sources.models_file, sources.keys_file) if one]
        self._changed = changed
        self._taken = self._seen = self._stat()

    async def watch(self) -> None:
        """Until cancelled."""
        while self._paths:
            await asyncio.sleep(_EVERY)
            await self.look()

    async def look(self) -> None:
        # In a thread: a network's file system can hang.
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
    # `ctime`: one that could not be read may be allowed to be, and that is all that changes.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
