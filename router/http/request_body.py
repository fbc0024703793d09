"""The body of a request, as it arrives."""

from __future__ import annotations

import asyncio

from router.http.chunks import BrokenBody, ChunkReader


class RequestBody:
    """`waiting`: bytes that have come and were not read. `length` None: in chunks.

    Chunks are decoded as they are read, some in each turn of the loop: a request that is
    refused can have a body of a million chunks, at no cost.
    """

    __slots__ = (
        "_broken",
        "_chunks",
        "_left",
        "_pieces",
        "_rest",
        "_waiter",
        "complete",
        "waiting",
    )

    def __init__(self, length: int | None) -> None:
        self._chunks = ChunkReader() if length is None else None
        self._left = length or 0
        self._pieces: list[bytes] = []  # as they came
        self._rest = b""  # follows the chunks
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False
        self.waiting = 0
        self.complete = length == 0

    def feed(self, data: bytes) -> bytes:
        """Take what is the body's; return what follows it."""
        rest, self._rest = self._rest, b""
        if self.complete:
            return rest + data
        if self._broken:
            return b""
        if self._chunks is None:
            data, rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            self.complete = not self._left
        if data:
            self._pieces.append(data)
            self.waiting += len(data)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return rest

    def take(self) -> bytes:
        """All that has come."""
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self) -> bytes:
        """What has come, once there is some; empty at the end. Raises `BrokenBody`."""
        while not self.complete:
            while not self._pieces:
                await self._wait()
            if self._chunks is None:
                break
            piece = self._decode(self._chunks)
            if self.waiting:
                await asyncio.sleep(0)
            if piece:
                return piece
        return self.take()

    @property
    def in_chunks(self) -> bool:
        return self._chunks is not None

    async def _wait(self) -> None:
        if self._broken:
            raise BrokenBody
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _decode(self, chunks: ChunkReader) -> bytes:
        try:
            piece, rest = chunks.feed(self.take())
        except BrokenBody:
            self._broken = True
            raise
        self.complete = chunks.complete
        if self.complete:
            self._rest = rest
        elif rest:
            self._pieces, self.waiting = [rest], len(rest)
        return piece
