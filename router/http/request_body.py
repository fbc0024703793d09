"""The body of a request, as it arrives."""

from __future__ import annotations

import asyncio

from router.http.chunks import BrokenBody, ChunkReader


class RequestBody:
    """`waiting`: bytes that have come and were not read. `length` None: in chunks."""

    __slots__ = ("_broken", "_chunks", "_left", "_pieces", "_waiter", "complete", "waiting")

    def __init__(self, length: int | None) -> None:
        self._chunks = ChunkReader() if length is None else None
        self._left = length or 0
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False
        self.waiting = 0
        self.complete = length == 0

    def feed(self, data: bytes) -> bytes:
        """Take what is the body's; return what follows it."""
        if self.complete:
            return data
        if self._broken:
            return b""
        if self._chunks is None:
            piece, rest = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self.complete = not self._left
        else:
            try:
                piece, rest = self._chunks.feed(data)
            except BrokenBody:
                piece, rest, self._broken = b"", b"", True
            self.complete = self._chunks.complete
        if piece:
            self._pieces.append(piece)
            self.waiting += len(piece)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return rest

    def take(self) -> bytes:
        """All that has come."""
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self) -> bytes:
        """What has come, once there is some; empty at the end. Raises `BrokenBody`."""
        while not self._pieces and not self.complete:
            if self._broken:
                raise BrokenBody
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._broken:
            raise BrokenBody
        return self.take()
