"""The queue behind a long poll."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A first-in, first-out queue. It belongs to one event loop."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._news = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._news.set()

    def withdraw(self, item: T) -> bool:
        """Remove an item. False if it was already taken."""
        if item not in self._items:
            return False
        self._items.remove(item)
        return True

    async def take(self, most: int, patience: float) -> list[T]:
        """Take between one and `most` items, or none after `patience` seconds.

        A caller that is canceled while it waits takes nothing.
        """
        try:
            async with asyncio.timeout(patience):
                while not self._items:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]
