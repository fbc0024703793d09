"""The tasks of a pool, which waits for them when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import TypeAlias

TasksByNumber: TypeAlias = MutableMapping[int, asyncio.Task[None]]


class PoolTasks:
    """A set of tasks. This is not a task group, because a defect in one task must not cancel
    another that stops an engine. `broke` is called with the defect."""

    def __init__(self, broke: Callable[[BaseException], None]) -> None:
        self._broke = broke
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(
        self,
        work: Coroutine[None, None, None],
        register: TasksByNumber | None = None,
        number: int = 0,
    ) -> asyncio.Task[None]:
        """Start `work`, which `finish` waits for. A defect in it breaks the pool."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if register is not None:
            # Not in the task's own `finally`: a task that is canceled before its first step
            # never gets there.
            register[number] = task
            task.add_done_callback(lambda _: register.pop(number, None))
        return task

    async def finish(self) -> None:
        """Wait for all tasks. None may be added meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            self._broke(defect)
