"""Watches one start: at each step the process may end or take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from engines.failure import FailureReason
from router.pool.interfaces import EngineStartError

T = TypeVar("T")


class StartWatch:
    """Runs the steps of a start. Raises `EngineStartError` if the engine ends during a step.

    All steps together may take `seconds`. A pause has no limit and does not count.
    """

    def __init__(
        self, exited: Callable[[], Awaitable[str]], failure: FailureReason, seconds: float
    ) -> None:
        self._exited, self._failure = exited, failure
        self._seconds, self._left = seconds, seconds

    async def step(self, work: Coroutine[Any, Any, T]) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._meanwhile(work, self._left)
        finally:
            self._left -= loop.time() - began

    async def pause(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._meanwhile(work, None)

    async def _meanwhile(self, work: Coroutine[Any, Any, T], limit: float | None) -> T:
        exited = asyncio.ensure_future(self._exited())
        done = asyncio.create_task(work)
        try:
            await asyncio.wait(
                {exited, done}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            # The exit first: it says more than a broken connection.
            if exited.done():
                raise EngineStartError(
                    exited.result(),
                    told=self._failure.told,
                    out_of_memory=self._failure.out_of_memory,
                    unsupported=self._failure.unsupported,
                )
            if not done.done():
                raise EngineStartError(
                    f"not ready after {self._seconds:g} s; last output: {self._failure.last}"
                )
            return done.result()
        finally:
            exited.cancel()
            done.cancel()
            await asyncio.gather(exited, done, return_exceptions=True)
