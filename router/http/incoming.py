"""Reads the parts of a request: API keys, Hub token, request id, trace, and a bounded body."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from weakref import WeakValueDictionary

from router.errors import (
    BodyTooLarge,
    InvalidRequest,
    QueueFull,
    UnsupportedEncoding,
    UploadTimeout,
)
from router.http.chunks import BrokenBody
from router.http.headers import Headers
from router.http.http_request import HttpRequest
from router.requests.trace_context import PARENT, STATE, Trace, read_trace
from router.side_process import Body

REQUEST_ID = "X-Request-Id"
_PLAUSIBLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_SMALL = 64 * 1024  # bytes; bodies up to this size do not count against the shared limit
_PIECE = 64 * 1024  # bytes
_WHOLE = 1024 * 1024  # bytes; joining more in one copy would block the event loop
_LARGE_AT_ONCE = 32  # the shared limit allows this many bodies of the largest size


def offered_keys(headers: Headers) -> Iterator[str]:
    """Yield the request's API keys, from `Authorization: Bearer` or Anthropic's `x-api-key`."""
    for value in headers.getall("authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    yield from headers.getall("x-api-key")


def hf_token(headers: Headers) -> str | None:
    """Return the caller's Hub token, unchecked. Raises `InvalidRequest` for more than one."""
    values = headers.getall("x-hf-token")
    if len(values) > 1:
        raise InvalidRequest("`X-HF-Token` is there more than once.", param="X-HF-Token")
    return values[0] if values else None


def trace_of(headers: Headers) -> Trace | None:
    """Return the caller's trace, if it sends a valid one."""
    if PARENT not in headers:  # the usual case
        return None
    return read_trace(headers.getall(PARENT), headers.getall(STATE))


def request_id_of(headers: Headers) -> str:
    """Return the caller's own request id if it is well-formed, else a new one."""
    own = headers.get("x-request-id")
    return own if _PLAUSIBLE_ID.fullmatch(own) else new_request_id()


def new_request_id() -> str:
    return os.urandom(16).hex()


class BodyReader:
    """Reads bodies of at most `limit` bytes that arrive within `patience` seconds.

    All bodies that are being read share another limit, because a caller may open many
    connections and send a large body on each.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit, self._patience = limit, patience
        self._left = limit * _LARGE_AT_ONCE
        self._small = min(_SMALL, limit)
        self._steps: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read_json(self, request: HttpRequest, caller: str) -> Body:
        """Return the whole body, in pieces if it is long.

        The content type must be JSON. That keeps out web pages: without a preflight request,
        they may post only other types to a loopback port. Raises `InvalidRequest`,
        `UnsupportedEncoding`, `BodyTooLarge`, `UploadTimeout` or `QueueFull`.
        """
        if request.content_type != "application/json":
            raise InvalidRequest(
                "Send the body as JSON, with `Content-Type: application/json`."
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding("Send the body uncompressed.")
        if (request.head.length or 0) > self._limit:
            raise self._too_large()
        request.ask_for_body()
        body = request.body
        if body.complete and body.waiting <= self._small:  # it arrived together with its head
            return body.take()
        try:
            async with asyncio.timeout(self._patience):
                return await self._read(request, self._steps.setdefault(caller, asyncio.Lock()))
        except TimeoutError:
            raise UploadTimeout(
                f"The body did not arrive within {self._patience:g} s."
            ) from None
        except BrokenBody:
            raise InvalidRequest("The body broke off, or its chunks are malformed.") from None

    async def _read(self, request: HttpRequest, step: asyncio.Lock) -> Body:
        body, pieces = request.body, list[bytes]()
        # A chunk can be one byte, and a list of such chunks would take 40 times the space.
        last = bytearray()
        size = held = 0
        try:
            while chunk := await body.read():
                size += len(chunk)
                if size > self._limit:
                    raise self._too_large()
                if size > _SMALL:
                    if size - held > self._left:
                        raise QueueFull("Too many large bodies at once: try again.")
                    self._left -= size - held
                    held = size
                last += chunk
                if len(last) >= _PIECE:
                    pieces.append(bytes(last))
                    last.clear()
                if size > _WHOLE or (body.waiting and body.in_chunks):
                    # Read a caller's large bodies and tiny chunks one piece per turn of the
                    # event loop.
                    async with step:
                        await asyncio.sleep(0)
            return (*pieces, bytes(last)) if size > _WHOLE else b"".join((*pieces, last))
        finally:
            self._left += held

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is too large: at most {self._limit} bytes.")
