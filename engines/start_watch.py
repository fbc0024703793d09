"""Watches one start: the process may end, or take too long, at each of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from engines.failure import FailureReason
from router.pool.interfaces import EngineStartError

T = TypeVar("T")


class StartWatch:
    """Raises `EngineStartError` from each step during which the engine ends.

    All steps together may take `seconds`; a pause has no limit, and is not counted.
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
            # The exit first: it says more than a connection that broke off.
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
