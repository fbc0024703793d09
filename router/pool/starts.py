"""Parts of a start in the executor: the scheduler's gate, and the failure report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.models import EngineKey
from router.pool.interfaces import EngineStartError
from router.scheduler import events
from router.scheduler.actions import Allotment


class StartGate:
    """Holds one engine until the scheduler starts it. Implements `interfaces.Gate`."""

    def __init__(self, reached: Callable[[], None]) -> None:
        self._reached = reached
        self.stood = False  # the engine has reached the gate, even if it did not have to wait
        self._opened: asyncio.Future[Allotment] = asyncio.get_running_loop().create_future()

    def standing(self) -> None:
        self.stood = True
        self._reached()

    async def opened(self) -> Allotment:
        return await asyncio.shield(self._opened)

    def open(self, allotment: Allotment) -> None:
        self._opened.set_result(allotment)


def failed(key: EngineKey, generation: int, failure: EngineStartError) -> events.StartFailed:
    return events.StartFailed(
        key,
        generation,
        failure.reason,
        failure.out_of_memory,
        failure.told,
        failure.unsupported,
    )
