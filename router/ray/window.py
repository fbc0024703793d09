"""Flow control: limits how far a replica may be ahead of its reader.

Without it, the ingress would buffer the whole answer. The replica sends up to a window, and
then waits until the ingress says that it has taken some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

WINDOW = 1 << 20  # the most that may be sent but not taken, in `weight`
_TELL = WINDOW // 4  # tell the replica when this much was taken
_BESIDE = 1024  # bytes that Ray needs for each chunk, however small


def weight(piece: bytes) -> int:
    """The bytes that a chunk takes at the ingress until it is read."""
    return len(piece) + _BESIDE


class SendWindow:
    """The window of one answer, at the replica."""

    def __init__(self) -> None:
        self._sent = self._taken = 0
        self._waiting: asyncio.Future[None] | None = None

    async def room(self, piece: bytes) -> None:
        """Wait until this chunk may be sent, and count it. Only one call may wait at a time."""
        while self._sent - self._taken >= WINDOW:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._sent += weight(piece)

    def took(self, taken: int) -> None:
        """`taken` counts from the start of the answer, so a message may be late or lost."""
        self._taken = max(self._taken, taken)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class SendWindows:
    """The windows of a replica's answers, by the names that ingresses gave the answers."""

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
        """Does nothing for an answer that is over."""
        if name in self._open:
            self._open[name].took(taken)


class ReadCount:
    """The amount read of one answer, at the ingress."""

    def __init__(self) -> None:
        self.taken = self.told = 0

    def take(self, piece: bytes) -> None:
        self.taken += weight(piece)

    @property
    def due(self) -> bool:
        """Whether the replica should be told."""
        return self.taken - self.told >= _TELL
