"""A cache that runs one call per key at a time, for all callers that want the result."""

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
# A failure. Callers then don't queue up for a Hub that hangs. Doubled with each failure in a
# row, up to the maximum.
UNAVAILABLE_TTL = 2.0
MAX_UNAVAILABLE_TTL = 30.0
MAX_ENTRIES = 16_384  # per cache; the least recently used entry goes first

K = TypeVar("K")
V = TypeVar("V")


class Charge(Protocol):
    """What a call costs. `begin` may refuse it."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class _Answers(TLRUCache[K, HubAnswer[V]]):
    """Answers until they expire. One that is removed earlier, for lack of space too, ends."""

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
    """Results and errors by key.

    Each call runs in a task of its own, so that a cancelled caller does not cancel the call
    for the callers that wait with it.
    """

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        """`random` returns numbers from 0 to 1. It spreads the retries of failed calls;
        otherwise all keys would be retried at the moment when the Hub is back."""
        self._clock, self._random = clock, random
        self._entries: _Answers[K, V | RouterError] = _Answers(
            MAX_ENTRIES, ttu=lambda _, answer, __: answer.until, timer=clock
        )
        self._failures: LRUCache[K, int] = LRUCache(MAX_ENTRIES)  # in a row
        self._running: dict[K, asyncio.Task[HubAnswer[V | RouterError]]] = {}
        # Also those from before `clear`.
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
        """The cached result, or that of a running or new `call`; not the cached one if `fresh`.

        Raises what `call` raises, also from the cache. If `within` seconds pass without a
        result, raises `HubUnavailable`, and the call goes on; at once if the last call for
        this key failed. A new call is charged first: what that raises is this caller's alone.
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
        self,
        key: K,
        call: Callable[[], Awaitable[V]],
        charge: Charge | None,
        within: float | None,
    ) -> HubAnswer[V | RouterError]:
        task = self._running.get(key)
        if task is None:
            task = self._begin(key, call, charge)
        # `wait`, because awaiting the task would cancel it together with this caller.
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
        else:  # there was a `clear` meanwhile
            _end(answer)
        return answer

    def _keep(self, key: K, answer: HubAnswer[V | RouterError]) -> None:
        if isinstance(answer.value, RouterError):
            before = self._entries.get(key)  # only if it was asked for a fresh answer
            known = before is not None and not isinstance(before.value, RouterError)
            if known and not isinstance(answer.value, AccessError | FitError):
                return  # silence takes back nothing
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
    """An error keeps its time: it tells the waiting callers when to try again."""
    if not isinstance(answer.value, RouterError):
        answer.end()


def _fresh(error: RouterError, left: float) -> RouterError:
    """A copy: the traceback of an instance that is raised repeatedly grows forever.

    `left` is for how many seconds more the error is cached.
    """
    error, seconds = copy.copy(error), math.ceil(left)
    if isinstance(error, HubLimited):
        error.retry_after = seconds
    elif isinstance(error, HubUnavailable):
        error.retry_after = max(error.retry_after, seconds)
    return error
