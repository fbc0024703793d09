"""Passes items on to followers, of which none can hold up the others or the sender."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

_QUEUED = 256  # items


class Follower(Generic[T]):
    """What one follower has not read yet. The oldest items go where it reads too slowly."""

    def __init__(self, most: int) -> None:
        self.lost = 0  # items that it was too slow for
        self._items: deque[T] = deque(maxlen=most)
        self._some = asyncio.Event()

    def put(self, item: T) -> None:
        self.lost += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._some.set()

    async def get(self) -> T:
        """Wait for the next item. A call that is cancelled loses none."""
        while not self._items:
            self._some.clear()
            await self._some.wait()
        return self._items.popleft()


class Feed(Generic[T]):
    """`followed` is cheap to ask: without followers, nothing needs to be made for them."""

    def __init__(self) -> None:
        self._followers: set[Follower[T]] = set()

    @property
    def followed(self) -> bool:
        return bool(self._followers)

    def send(self, item: T) -> None:
        for follower in self._followers:
            follower.put(item)

    @contextmanager
    def follow(self, most: int = _QUEUED) -> Iterator[Follower[T]]:
        """Hear of what is sent from now on, until the block ends. `most`: items that may wait
        to be read."""
        follower: Follower[T] = Follower(most)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
