"""Questions to the Hub, each asked once at a time, and its answers for as long as they hold."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache, TLRUCache

from router.clock import Clock
from router.errors import AccessError, FitError, HubLimited, HubUnavailable, RouterError

ANSWER_TTL = 60.0  # seconds, for a yes
REFUSAL_TTL = 10.0  # for a no
UNAVAILABLE_TTL = 2.0  # for none: so that callers do not queue up for a Hub that hangs,
LONGEST_TTL = 30.0  # twice as long each time in a row, up to this
MAX_ANSWERS = 16_384  # of each kind; the least recently used go first

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Answer(Generic[V]):
    value: V | RouterError
    until: float

    def told(self, now: float) -> V:
        if not isinstance(self.value, RouterError):
            return self.value
        # A copy: raising one instance over and over makes its traceback grow for ever.
        error, left = copy.copy(self.value), math.ceil(self.until - now)
        if isinstance(error, HubLimited):
            error.retry_after = left
        elif isinstance(error, HubUnavailable):
            error.retry_after = max(error.retry_after, left)
        raise error


class Answers(Generic[K, V]):
    """Answers by question. A task of its own asks each, so that a caller who leaves takes
    nothing from those who wait with it."""

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        """`random` gives numbers from 0 to 1: without them all would ask a Hub that has
        come back in the same moment."""
        self._clock, self._random = clock, random
        self._known: TLRUCache[K, _Answer[V]] = TLRUCache(
            MAX_ANSWERS, ttu=lambda _, answer, __: answer.until, timer=clock
        )
        self._failures: LRUCache[K, int] = LRUCache(MAX_ANSWERS)  # in a row
        self._asking: dict[K, asyncio.Task[_Answer[V]]] = {}
        self._tasks: set[asyncio.Task[_Answer[V]]] = set()  # forgotten ones too

    async def get(
        self, key: K, ask: Callable[[], Awaitable[V]], *, within: float | None = None
    ) -> V:
        """The answer, remembered or fresh. Raises what `ask` raises, also remembered.

        `within`: seconds after which a caller who can do without hears `HubUnavailable`, at
        once where there was no answer the last time. The question goes on all the same.
        """
        answer = self._known.get(key)
        if answer is None:
            if within is not None and key in self._failures:
                within = 0.0
            answer = await self._ask(key, ask, within)
        return answer.told(self._clock())

    def drop(self, key: K) -> None:
        self._known.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return key in self._known

    def clear(self) -> None:
        self._known.clear()
        self._failures.clear()
        self._asking.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(
        self, key: K, ask: Callable[[], Awaitable[V]], within: float | None
    ) -> _Answer[V]:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(key, ask))
            self._asking[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Unlike awaiting it, this leaves it alone when cancelled.
        done, _ = await asyncio.wait([task], timeout=within)
        if not done:
            raise HubUnavailable("The Hugging Face Hub is slow to answer: try again later.")
        if task.cancelled():
            raise HubUnavailable("The worker is leaving: try again.")
        return task.result()

    async def _answer(self, key: K, ask: Callable[[], Awaitable[V]]) -> _Answer[V]:
        value: V | RouterError
        try:
            value = await ask()
        except RouterError as error:
            value = error.with_traceback(None)
        finally:
            current = self._asking.get(key) is asyncio.current_task()
            if current:
                del self._asking[key]
        answer = _Answer(value, self._clock() + self._lasts(key, value))
        if current:  # not forgotten meanwhile
            self._known[key] = answer
        return answer

    def _lasts(self, key: K, value: V | RouterError) -> float:
        """Seconds for which this may be believed."""
        if isinstance(value, HubLimited):
            return value.retry_after
        if isinstance(value, RouterError) and not isinstance(value, AccessError | FitError):
            streak = self._failures[key] = self._failures.get(key, 0) + 1
            longest = min(UNAVAILABLE_TTL * 2.0 ** min(streak - 1, 16), LONGEST_TTL)
            return longest * (0.5 + self._random() / 2)
        self._failures.pop(key, None)
        return REFUSAL_TTL if isinstance(value, RouterError) else ANSWER_TTL
