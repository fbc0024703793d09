"""Ends the requests of an ingress that is gone: Ray lets them run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ALIVE_WITHIN = 15.0  # seconds; an ingress looks in every second


class Orphans:
    """Knows when each ingress was last heard of, and the tasks that work for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._tasks: dict[str, set[asyncio.Task[object]]] = {}

    def hear(self, ingress: str) -> None:
        self._heard[ingress] = self._clock()

    @contextmanager
    def working_for(self, ingress: str) -> Iterator[None]:
        """The current task works for it, until the block ends or it is gone."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._heard.setdefault(ingress, self._clock())
        tasks = self._tasks.setdefault(ingress, set())
        tasks.add(task)
        try:
            yield
        finally:
            tasks.discard(task)

    def end(self) -> int:
        """End what works for those that were not heard of for too long; return how many."""
        late = self._clock() - ALIVE_WITHIN
        ended = 0
        for ingress in [one for one, heard in self._heard.items() if heard < late]:
            del self._heard[ingress]
            for task in self._tasks.pop(ingress, ()):
                task.cancel()
                ended += 1
        return ended
