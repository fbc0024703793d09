"""A cache that runs one call per key at a time and shares its result."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar, cast

from cachetools import LRUCache, TLRUCache

from router.clock import Clock
from router.errors import AccessError, FitError, HubLimited, HubUnavailable, RouterError
from router.hub.interfaces import HubAnswer

# Seconds for which a result is cached.
ANSWER_TTL = 60.0  # a success
REFUSAL_TTL = 10.0  # an `AccessError` or a `FitError`
# After other failures, callers don't queue up for a Hub that hangs. The time doubles with each
# failure in a row, up to the maximum.
UNAVAILABLE_TTL = 2.0
MAX_UNAVAILABLE_TTL = 30.0
MAX_ENTRIES = 16_384  # per cache; the least recently used entry goes first

K = TypeVar("K")
V = TypeVar("V")


class Charge(Protocol):
    """The cost of a call. `begin` may refuse the call."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class _Answers(TLRUCache[K, HubAnswer[V]]):
    """Answers until they expire. Removing an answer early, even for lack of space, ends it."""

    def popitem(self) -> tuple[K, HubAnswer[V]]:
        key, answer = super().popitem()
        _end(answer)
        return key, answer

    def end(self, key: K) -> None:
        answer = self.pop(key, None)
        if answer is not None:
            _end(answer)

    def clear(self) -> None:
        with suppress(KeyError):  # it is empty
            while True:
                self.popitem()


class SingleFlightCache(Generic[K, V]):
    """Caches results and errors by key.

    Each call runs in its own task, so a canceled caller does not cancel the call for the others
    that wait for it.
    """

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        """`random` returns numbers from 0 to 1. It spreads the retries of failed calls;
        otherwise all keys would be retried when the Hub comes back."""
        self._clock, self._random = clock, random
        self._entries: _Answers[K, V | RouterError] = _Answers(
            MAX_ENTRIES, ttu=lambda _, answer, __: answer.until, timer=clock
        )
        self._failures: LRUCache[K, int] = LRUCache(MAX_ENTRIES)  # consecutive failures
        self._running: dict[K, asyncio.Task[HubAnswer[V | RouterError]]] = {}
        # Includes the tasks from before `clear`.
        self._tasks: set[asyncio.Task[HubAnswer[V | RouterError]]] = set()

    async def get(
        self,
        key: K,
        call: Callable[[], Awaitable[V]],
        charge: Charge | None = None,
        *,
        within: float | None = None,
        fresh: bool = False,
    ) -> HubAnswer[V]:
        """Return the cached result, or join or start a call. `fresh` ignores the cache.

        Raises what `call` raises, also from the cache. If there is no result within `within`
        seconds, raises `HubUnavailable`, and the call continues. If the last call for this key
        failed, raises it at once. A new call is charged first; only its own caller gets the
        error of `charge.begin`.
        """
        answer = None if fresh else self._entries.get(key)
        if answer is None:
            if within is not None and key in self._failures:
                within = 0.0
            answer = await self._join(key, call, charge, within)
        if isinstance(answer.value, RouterError):
            raise _fresh(answer.value, answer.until - self._clock())
        return cast("HubAnswer[V]", answer)

    def discard(self, key: K) -> None:
        self._entries.end(key)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def clear(self) -> None:
        """Drop all results. A running call still answers its callers but is not cached."""
        self._entries.clear()
        self._failures.clear()
        self._running.clear()

    async def close(self) -> None:
        """Cancel all running calls and wait for them. Their callers get `HubUnavailable`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(
        self,
        key: K,
        call: Callable[[], Awaitable[V]],
        charge: Charge | None,
        within: float | None,
    ) -> HubAnswer[V | RouterError]:
        task = self._running.get(key)
        if task is None:
            task = self._begin(key, call, charge)
        # Use `wait`: awaiting the task would cancel it together with this caller.
        done, _ = await asyncio.wait([task], timeout=within)
        if not done:
            raise HubUnavailable("The Hugging Face Hub is slow to answer: try again later.")
        if task.cancelled():
            raise HubUnavailable("The worker is shutting down: try again.")
        return task.result()

    def _begin(
        self, key: K, call: Callable[[], Awaitable[V]], charge: Charge | None
    ) -> asyncio.Task[HubAnswer[V | RouterError]]:
        if charge is not None:
            charge.begin()
        task = asyncio.create_task(self._run(key, call))
        self._running[key] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if charge is not None:
            end = charge.end
            task.add_done_callback(lambda _: end())
        return task

    async def _run(
        self, key: K, call: Callable[[], Awaitable[V]]
    ) -> HubAnswer[V | RouterError]:
        result: V | RouterError
        try:
            result = await call()
        except RouterError as error:
            result = error.with_traceback(None)
        finally:
            current = self._running.get(key) is asyncio.current_task()
            if current:
                del self._running[key]
        answer = HubAnswer(result, self._clock() + self._ttl(key, result))
        if current:
            self._keep(key, answer)
        else:  # `clear` was called meanwhile
            _end(answer)
        return answer

    def _keep(self, key: K, answer: HubAnswer[V | RouterError]) -> None:
        if isinstance(answer.value, RouterError):
            before = self._entries.get(key)  # not None only for `fresh`
            known = before is not None and not isinstance(before.value, RouterError)
            if known and not isinstance(answer.value, AccessError | FitError):
                return  # a Hub that does not answer revokes nothing
            self._entries.end(key)
        self._entries[key] = answer

    def _ttl(self, key: K, result: V | RouterError) -> float:
        """Seconds for which to cache the result."""
        if isinstance(result, HubLimited):
            return result.retry_after
        if isinstance(result, RouterError) and not isinstance(result, AccessError | FitError):
            streak = self._failures[key] = self._failures.get(key, 0) + 1
            longest = min(UNAVAILABLE_TTL * 2.0 ** min(streak - 1, 16), MAX_UNAVAILABLE_TTL)
            return longest * (0.5 + self._random() / 2)
        self._failures.pop(key, None)
        return REFUSAL_TTL if isinstance(result, RouterError) else ANSWER_TTL


def _end(answer: HubAnswer[Any]) -> None:
    """End a success. An error keeps its time, which tells the waiting callers when to retry."""
    if not isinstance(answer.value, RouterError):
        answer.end()


def _fresh(error: RouterError, left: float) -> RouterError:
    """Copy an error: raising the same instance again and again grows its traceback forever.

    `left`: seconds for which the error stays cached.
    """
    error, seconds = copy.copy(error), math.ceil(left)
    if isinstance(error, HubLimited):
        error.retry_after = seconds
    elif isinstance(error, HubUnavailable):
        error.retry_after = max(error.retry_after, seconds)
    return error
