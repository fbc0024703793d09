"""Waiting for what other threads and processes do, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], within: float = 90.0) -> None:
    """Return as soon as `condition` holds; fail when it does not within so many seconds, which
    are far more than the busiest machine takes."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - no event comes from there
            await asyncio.sleep(0.01)
