"""Ends the requests of an ingress that is gone: Ray lets them run on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

# Looks, a second apart, as an ingress's visits are. Counted, not timed: a replica that stood
# still for a while has not heard of anybody, and takes nobody for gone.
SILENT_LOOKS = 15


class Orphans:
    """Knows in how many looks each ingress was not heard of, and the tasks that work for it."""

    def __init__(self) -> None:
        self._silent: dict[str, int] = {}
        self._tasks: dict[str, set[asyncio.Task[object]]] = {}

    def hear(self, ingress: str) -> None:
        self._silent[ingress] = 0

    @contextmanager
    def working_for(self, ingress: str) -> Iterator[None]:
        """The current task works for it, until the block ends or it is gone."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._silent.setdefault(ingress, 0)
        tasks = self._tasks.setdefault(ingress, set())
        tasks.add(task)
        try:
            yield
        finally:
            tasks.discard(task)

    def look(self) -> int:
        """End what works for those that were silent for too long; return how many."""
        ended = 0
        for ingress in tuple(self._silent):
            self._silent[ingress] += 1
            if self._silent[ingress] < SILENT_LOOKS:
                continue
            del self._silent[ingress]
            for task in self._tasks.pop(ingress, ()):
                task.cancel()
                ended += 1
        return ended
