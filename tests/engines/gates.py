"""The pool's side of a gate, for tests of the launcher."""

from __future__ import annotations

import asyncio

from router.scheduler.actions import Allotment
from tests.engines.workshop import ALLOTMENT


class HeldGate:
    """Closed, until a test opens it."""

    def __init__(self) -> None:
        self.stood = 0  # how often it was reached
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    def standing(self) -> None:
        self.stood += 1
        self.reached.set()

    async def opened(self) -> Allotment:
        await self.open.wait()
        return ALLOTMENT
