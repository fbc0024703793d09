"""Reads an answer while its previous chunk is still being posted."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Self

from router import tasks
from router.requests.interfaces import Response

_AHEAD = 64  # chunks of at most 64 KiB that wait for a slow post


class Answer:
    """Reads the response of `opening` in a task of its own.

    Iterate only once. If the request raises, the iteration raises the same error at its end.
    """

    def __init__(self, opening: AbstractAsyncContextManager[Response]) -> None:
        self._opening = opening
        self._response: Response | None = None
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_AHEAD)

    @property
    def response(self) -> Response:
        """The response. Available after the first chunk or the end."""
        assert self._response is not None, "iterate first"  # noqa: S101
        return self._response

    @property
    def has_more(self) -> bool:
        """Whether the next chunk has already arrived."""
        return not self._pieces.empty()

    @property
    def fails(self) -> bool:
        """Whether the response has failed. It ends soon."""
        return self.response.failure is not None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *error: object) -> None:
        await tasks.cancel(self._reading)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.get()
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, Exception):
            try:
                raise piece
            finally:
                del piece  # its traceback holds this frame: a cycle, which would keep a token
        return piece

    async def _read(self) -> None:
        end: Exception | None = None
        try:
            async with self._opening as response:
                self._response = response
                async for data in response:
                    await self._pieces.put(data)
        except Exception as error:  # noqa: BLE001 - raised again where the job is handled
            end = error
        try:
            await self._pieces.put(end)
        finally:
            del end  # as in `__anext__`
