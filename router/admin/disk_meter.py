"""Measures how full the disk is, and only now and then: each time reads many small files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from router.clock import Clock
from router.downloads.disk import DiskUsage

_log = logging.getLogger(__name__)

OLD = 30.0  # seconds until the disk is measured again
PATIENCE = 1.0  # seconds; a state waits that long for a measurement


class DiskMeter:
    def __init__(self, measure: Callable[[], Awaitable[DiskUsage]], clock: Clock) -> None:
        self._measure, self._clock = measure, clock
        self._latest: DiskUsage | None = None
        self._measured_at = -OLD
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> DiskUsage | None:
        """The latest measurement; None if there is none yet or the disk can't be read."""
        if self._clock() - self._measured_at >= OLD and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE)
        return self._latest

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _look(self) -> None:
        try:
            self._latest = await self._measure()
        except OSError as error:
            _log.warning("the size of the cache can't be measured: %s", error)
            self._latest = None
        finally:
            self._measured_at, self._task = self._clock(), None
