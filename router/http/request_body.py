"""The body of a request as it arrives."""

from __future__ import annotations

import asyncio

from router.http.chunks import BrokenBody, ChunkReader
from router.http.read_buffer import ReadBuffer


class RequestBody:
    """Reads a body from `buffer`. `length` is in bytes; None: it is chunked.

    Chunks are decoded on reading, a limited number per turn of the event loop. So a refused
    request costs nothing, even if its body has a million chunks.
    """

    __slots__ = ("_broken", "_buffer", "_chunks", "_left", "_waiter")

    def __init__(self, length: int | None, buffer: ReadBuffer) -> None:
        self._buffer = buffer
        self._chunks = ChunkReader() if length is None else None
        self._left = length or 0  # unread bytes
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived; if it is chunked, whether it was also read."""
        if self._chunks is not None:
            return self._chunks.complete
        return self._left <= self._buffer.size

    @property
    def waiting(self) -> int:
        """Bytes that have arrived and are unread. Counts the chunk framing, too."""
        if self._chunks is not None:
            return 0 if self._chunks.complete else self._buffer.size
        return min(self._left, self._buffer.size)

    @property
    def in_chunks(self) -> bool:
        return self._chunks is not None

    def has_come(self) -> None:
        """Note that `buffer` has more data."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> bytes:
        """Return the arrived part of a body that is not chunked."""
        data = self._buffer.take(self._left)
        self._left -= len(data)
        return data

    def pass_over(self) -> None:
        """Skip the unread part of a body that has fully arrived."""
        if self._left:
            self._buffer.skip(self._left)
            self._left = 0

    async def read(self) -> bytes:
        """Wait for data and return it; b"" at the end. Raises `BrokenBody`."""
        if self._chunks is not None:
            return await self._read_chunks(self._chunks)
        while self._left and not self._buffer.size:
            await self._wait()
        return self.take()

    async def _read_chunks(self, chunks: ChunkReader) -> bytes:
        if self._broken:
            raise BrokenBody
        while not chunks.complete:
            while not self._buffer.size:
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
        data, at = self._buffer.look()
        try:
            piece, end = chunks.feed(data, at)
        except BrokenBody:
            self._broken = True
            raise
        self._buffer.skip(end - at)
        return piece
