"""Finishes work even if the caller is canceled, and cancels tasks completely."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end, even if the calling task is canceled meanwhile.

    Raises what `work` raises; otherwise `CancelledError`, if there was a cancellation.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended. Does not raise the task's error."""

    async def end() -> None:
        await asyncio.wait([task])

    if not task.done():
        task.cancel()
        await finish(end())
    if not task.cancelled():
        task.exception()  # asyncio logs an exception that nobody has retrieved
