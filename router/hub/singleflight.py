"""A cache that runs one call per key at a time, for all callers that want the result."""

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

# Seconds for which a result is cached.
ANSWER_TTL = 60.0  # a success
REFUSAL_TTL = 10.0  # an `AccessError` or a `FitError`
# A failure. Callers then don't queue up for a Hub that hangs. Doubled with each failure in a
# row, up to the maximum.
UNAVAILABLE_TTL = 2.0
MAX_UNAVAILABLE_TTL = 30.0
MAX_ENTRIES = 16_384  # per cache; the least recently used entry goes first

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _CachedResult(Generic[V]):
    result: V | RouterError
    expires_at: float

    def unwrap(self, now: float) -> V:
        """Return the value, or raise the error."""
        if not isinstance(self.result, RouterError):
            return self.result
        # A copy: the traceback of an instance that is raised repeatedly grows forever.
        error, left = copy.copy(self.result), math.ceil(self.expires_at - now)
        if isinstance(error, HubLimited):
            error.retry_after = left
        elif isinstance(error, HubUnavailable):
            error.retry_after = max(error.retry_after, left)
        raise error


class SingleFlightCache(Generic[K, V]):
    """Results and errors by key.

    Each call runs in a task of its own, so that a cancelled caller does not cancel the call
    for the callers that wait with it.
    """

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        """`random` returns numbers from 0 to 1. It spreads the retries of failed calls;
        otherwise all keys would be retried at the moment when the Hub is back."""
        self._clock, self._random = clock, random
        self._entries: TLRUCache[K, _CachedResult[V]] = TLRUCache(
            MAX_ENTRIES, ttu=lambda _, entry, __: entry.expires_at, timer=clock
        )
        self._failures: LRUCache[K, int] = LRUCache(MAX_ENTRIES)  # in a row
        self._running: dict[K, asyncio.Task[_CachedResult[V]]] = {}
        self._tasks: set[asyncio.Task[_CachedResult[V]]] = (
            set()
        )  # also those from before `clear`

    async def get(
        self, key: K, call: Callable[[], Awaitable[V]], *, within: float | None = None
    ) -> V:
        """The cached result, or that of a running or new `call`.

        Raises what `call` raises, also from the cache. If `within` seconds pass without a
        result, raises `HubUnavailable`, and the call goes on; at once if the last call for
        this key failed.
        """
        entry = self._entries.get(key)
        if entry is None:
            if within is not None and key in self._failures:
                within = 0.0
            entry = await self._join(key, call, within)
        return entry.unwrap(self._clock())

    def discard(self, key: K) -> None:
        self._entries.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def clear(self) -> None:
        """Drop all results. A running call still answers its callers, but is not cached."""
        self._entries.clear()
        self._failures.clear()
        self._running.clear()

    async def close(self) -> None:
        """Cancel all running calls and wait for them; callers get `HubUnavailable`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(
        self, key: K, call: Callable[[], Awaitable[V]], within: float | None
    ) -> _CachedResult[V]:
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key, call))
            self._running[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # `wait`, because awaiting the task would cancel it together with this caller.
        done, _ = await asyncio.wait([task], timeout=within)
        if not done:
            raise HubUnavailable("The Hugging Face Hub is slow to answer: try again later.")
        if task.cancelled():
            raise HubUnavailable("The worker is shutting down: try again.")
        return task.result()

    async def _run(self, key: K, call: Callable[[], Awaitable[V]]) -> _CachedResult[V]:
        result: V | RouterError
        try:
            result = await call()
        except RouterError as error:
            result = error.with_traceback(None)
        finally:
            current = self._running.get(key) is asyncio.current_task()
            if current:
                del self._running[key]
        entry = _CachedResult(result, self._clock() + self._ttl(key, result))
        if current:  # there was no `clear` meanwhile
            self._entries[key] = entry
        return entry

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
