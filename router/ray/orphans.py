"""Ends the requests of an ingress that is gone, because Ray does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

# Checks without a visit before an ingress counts as gone. Checks and visits come every second.
# Checks are counted, not seconds: a replica that was frozen has heard from no ingress, and must
# not take all of them for gone.
SILENT_LOOKS = 15


class Orphans:
    """Counts the silent checks of each ingress, and knows the tasks that work for it."""

    def __init__(self) -> None:
        self._silent: dict[str, int] = {}
        self._tasks: dict[str, set[asyncio.Task[object]]] = {}

    def hear(self, ingress: str) -> None:
        self._silent[ingress] = 0

    @contextmanager
    def working_for(self, ingress: str) -> Iterator[None]:
        """Cancel the current task if the ingress is gone before the block ends."""
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
        """Cancel the tasks of ingresses that were silent too long. Returns how many."""
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
