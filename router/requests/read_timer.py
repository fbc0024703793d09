"""A reusable timeout for a series of reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class ReadTimer:
    """Cancels the current read when its time is over.

    `asyncio.timeout` creates a timer per use: one for each event of a stream. This timer stays
    armed across reads, and is only moved when it fires.
    """

    __slots__ = ("_due", "_handle", "_loop", "_struck", "_task", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0  # when `_handle` fires
        self._due: Callable[[], float] = float  # the deadline of the current read
        self._task: asyncio.Task[object] | None = None  # the task that reads now
        self._struck = False

    def now(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    async def read(self, source: Awaitable[T], due: Callable[[], float]) -> T:
        """Await `source` until `due()`, a time of the loop's clock. Raises `TimeoutError`.

        When that time has come, `due` is called again: the deadline may have been extended.
        """
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        cancelling = task.cancelling()
        self._task, self._due, self._struck = task, due, False
        when = due()
        if self._handle is None or self._when > when:
            self._arm(when)
        try:
            return await source
        except asyncio.CancelledError:
            if self._struck and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task, self._due = None, float  # `due` can refer to this timer

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
        when = self._due()
        if self._loop.time() < when:
            self._arm(when)
            return
        self._struck = True
        self._task.cancel()
