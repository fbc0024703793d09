"""The bodies of requests, taken in within bounds."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from router.errors import BodyTooLarge, InvalidRequest, QueueFull

_SMALL = 64 * 1024  # bytes; so much of each body always has a place
_LARGE_AT_ONCE = 32  # of the largest, before others are refused


class Bodies:
    """Reads bodies: each at most `limit` bytes, and there within `patience` seconds.

    All that is on its way in together has a bound as well: who may send one large body
    may open many connections.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit, self._patience = limit, patience
        self._left = limit * _LARGE_AT_ONCE

    async def read_json(self, request: web.BaseRequest) -> bytes:
        """The whole body. Raises `InvalidRequest`, `BodyTooLarge` and `QueueFull`.

        Asking for JSON by name keeps out the web pages that post to a loopback port
        without asking first.
        """
        if request.content_type != "application/json":
            raise InvalidRequest(
                "Send the body as JSON, with `Content-Type: application/json`."
            )
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise InvalidRequest("Send the body uncompressed.")
        if (request.content_length or 0) > self._limit:
            raise self._too_large()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        try:
            async with asyncio.timeout(self._patience):
                return await self._read(request)
        except TimeoutError:
            raise InvalidRequest(
                f"The body did not arrive within {self._patience:g} s."
            ) from None
        except RequestPayloadError:
            raise InvalidRequest("The body broke off, or its chunks are malformed.") from None

    async def _read(self, request: web.BaseRequest) -> bytes:
        chunks: list[bytes] = []
        size = held = 0
        try:
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > self._limit:
                    raise self._too_large()
                if size > _SMALL:
                    if size - held > self._left:
                        raise QueueFull("Too many large bodies at once: try again.")
                    self._left -= size - held
                    held = size
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            self._left += held

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is too large: at most {self._limit} bytes.")
