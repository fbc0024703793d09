"""The body of a request, as it arrives."""

from __future__ import annotations

import asyncio

from router.http.ahead import Ahead
from router.http.chunks import BrokenBody, ChunkReader


class RequestBody:
    """It begins `ahead`. `length` None: in chunks.

    Chunks are decoded as they are read, some in each turn of the loop: a request that is
    refused can have a body of a million chunks, at no cost.
    """

    __slots__ = ("_ahead", "_broken", "_chunks", "_left", "_waiter")

    def __init__(self, length: int | None, ahead: Ahead) -> None:
        self._ahead = ahead
        self._chunks = ChunkReader() if length is None else None
        self._left = length or 0  # bytes that were not read
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False

    @property
    def complete(self) -> bool:
        """All of it has come; in chunks: and was read."""
        if self._chunks is not None:
            return self._chunks.complete
        return self._left <= self._ahead.size

    @property
    def waiting(self) -> int:
        """Bytes that have come and were not read."""
        if self._chunks is not None:
            return 0 if self._chunks.complete else self._ahead.size
        return min(self._left, self._ahead.size)

    @property
    def in_chunks(self) -> bool:
        return self._chunks is not None

    def has_come(self) -> None:
        """More is `ahead`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> bytes:
        """All that has come of a body that is not in chunks."""
        data = self._ahead.take(self._left)
        self._left -= len(data)
        return data

    def pass_over(self) -> None:
        """What nobody has read of a body that has come."""
        if self._left:
            self._ahead.skip(self._left)
            self._left = 0

    async def read(self) -> bytes:
        """What has come, once there is some; empty at the end. Raises `BrokenBody`."""
        if self._chunks is not None:
            return await self._read_chunks(self._chunks)
        while self._left and not self._ahead.size:
            await self._wait()
        return self.take()

    async def _read_chunks(self, chunks: ChunkReader) -> bytes:
        if self._broken:
            raise BrokenBody
        while not chunks.complete:
            while not self._ahead.size:
                await self._wait()
            piece = self._decode(chunks)
            if self.waiting:
                await asyncio.sleep(0)
            if piece:
                return piece
        return b""

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _decode(self, chunks: ChunkReader) -> bytes:
        data, at = self._ahead.look()
        try:
            piece, end = chunks.feed(data, at)
        except BrokenBody:
            self._broken = True
            raise
        self._ahead.skip(end - at)
        return piece
