"""A timer for what a request waits for, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class ReadTimer:
    """Interrupts the read in progress when its time is over.

    `asyncio.timeout` makes a timer for each use: for a stream, one for each event. This one
    stays armed while reads come and go, and is moved only when it fires. `due` is when the read
    in progress is over; it can be put off meanwhile.
    """

    __slots__ = ("_handle", "_loop", "_struck", "_task", "_when", "due")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0  # when `_handle` fires
        self.due = 0.0  # when the read in progress is over
        self._task: asyncio.Task[object] | None = None  # that reads now
        self._struck = False

    def time(self) -> float:
        """The loop's clock, which `due` refers to. Seconds."""
        return self._loop.time()

    async def read(self, source: Awaitable[T], due: float) -> T:
        """Await `source` until `due`. Raises `TimeoutError`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        cancelling = task.cancelling()
        self._task, self.due, self._struck = task, due, False
        if self._handle is None or self._when > due:
            self._arm(due)
        try:
            return await source
        except asyncio.CancelledError:
            if self._struck and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._when, self._handle = when, self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._task is None:
            return  # the next read arms it again
        if self._loop.time() < self.due:
            self._arm(self.due)
            return
        self._struck = True
        self._task.cancel()
