"""Waits for other threads and processes, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], within: float = 90.0) -> None:
    """Wait until `condition` is true; fail after so many seconds. The default is far more than
    the busiest machine needs."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - no event comes from there
            await asyncio.sleep(0.01)
