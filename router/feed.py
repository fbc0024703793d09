"""Sends items to several followers. A slow one delays neither the sender nor the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

_QUEUED = 256  # items


class Follower(Generic[T]):
    """The items that one follower has not read yet. A slow follower loses the oldest."""

    def __init__(self, most: int) -> None:
        self.lost = 0  # items that were dropped because it read too slowly
        self._items: deque[T] = deque(maxlen=most)
        self._some = asyncio.Event()

    def put(self, item: T) -> None:
        self.lost += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._some.set()

    async def get(self) -> T:
        """Wait for the next item. A canceled call loses no item."""
        while not self._items:
            self._some.clear()
            await self._some.wait()
        return self._items.popleft()


class Feed(Generic[T]):
    """Check `followed` before you make an item: without followers, nobody needs it."""

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
        """Receive the items that are sent until the block ends. At most `most` unread items are
        kept."""
        follower: Follower[T] = Follower(most)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
