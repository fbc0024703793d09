"""How far a replica may be ahead of its reader: the ingress would hold all that was sent.

The replica sends a window's worth, and then waits until the ingress has told that it took some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

WINDOW = 1 << 20  # of an answer that was sent and not yet taken; in `weight`
_TELL = WINDOW // 4  # that was taken since it was last told
_BESIDE = 1024  # bytes that Ray keeps beside each piece, however small


def weight(piece: bytes) -> int:
    """In bytes, what a piece takes at the ingress until it is read."""
    return len(piece) + _BESIDE


class SendWindow:
    """One answer, at the replica."""

    def __init__(self) -> None:
        self._sent = self._taken = 0
        self._waiting: asyncio.Future[None] | None = None

    async def room(self, piece: bytes) -> None:
        """Return once this piece may be sent, and count it. One waits at a time."""
        while self._sent - self._taken >= WINDOW:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._sent += weight(piece)

    def took(self, taken: int) -> None:
        """`taken`: since the answer began, so that a message may be late or lost."""
        self._taken = max(self._taken, taken)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class SendWindows:
    """The answers that a replica sends, by the names that their ingresses gave them."""

    def __init__(self) -> None:
        self._open: dict[str, SendWindow] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[SendWindow]:
        window = self._open[name] = SendWindow()
        try:
            yield window
        finally:
            del self._open[name]

    def took(self, name: str, taken: int) -> None:
        """Without effect for an answer that is over."""
        if name in self._open:
            self._open[name].took(taken)


class ReadCount:
    """One answer, at the ingress."""

    def __init__(self) -> None:
        self.taken = self.told = 0

    def take(self, piece: bytes) -> None:
        self.taken += weight(piece)

    @property
    def due(self) -> bool:
        """Whether the replica should hear of it."""
        return self.taken - self.told >= _TELL
