"""What a long poll waits for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """First come, first served. It belongs to one event loop."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._news = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._news.set()

    def withdraw(self, item: T) -> bool:
        """Take it out again. False if somebody has it already."""
        if item not in self._items:
            return False
        self._items.remove(item)
        return True

    async def take(self, most: int, patience: float) -> list[T]:
        """At least one and at `most` so many, or none after `patience` seconds.

        A caller that is canceled while waiting has taken nothing.
        """
        try:
            async with asyncio.timeout(patience):
                while not self._items:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]
