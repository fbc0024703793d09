"""Writes answers to a connection: complete ones, or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from router.http.http_request import HttpRequest

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = (204, 304)
_JOINED = 64 * 1024  # bytes; a longer body is not copied to join it with its head


def send_whole(
    request: HttpRequest, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Raises `ConnectionResetError` if the caller left."""
    if status not in _BODILESS:
        headers = {**headers, "Content-Length": str(len(body))}
    head = _head(request, status, headers)
    request.status = status
    if status in _BODILESS or request.method == "HEAD":
        request.wire.send(head)
    elif len(body) <= _JOINED:
        request.wire.send(head + body)
    else:
        request.wire.send(head)
        request.wire.send(body)


class AnswerWriter:
    """Writes an answer piece by piece. The head goes out with the first piece.

    Without a length, the body is chunked, or for HTTP/1.0 ends with the connection.
    """

    __slots__ = ("_chunked", "_head", "_left", "_request", "_send", "_status")

    def __init__(self, request: HttpRequest, status: int, headers: Mapping[str, str]) -> None:
        self._request, self._status = request, status
        self._send = request.wire.send
        length = headers.get("content-length", headers.get("Content-Length"))
        if status in _BODILESS:
            length = "0"
        self._left = -1 if length is None else int(length)
        self._chunked = length is None and request.head.modern
        if self._chunked:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        elif length is None:
            request.keeps = False  # closing ends the body (RFC 9112, 6.3)
        self._head: bytes | None = _head(request, status, headers)

    async def drained(self) -> None:
        await self._request.wire.drained()

    def begin_soon(self) -> None:
        """Send the head in this turn of the event loop, together with the first piece if there
        is one."""
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if self._head is not None and not self._request.wire.over:
            self.write(b"")

    def forgo(self) -> None:
        """Don't send the head: another answer takes its place."""
        self._head = None

    def write(self, data: bytes) -> bool:
        """Return False if the caller must first read more (see `drained`).

        Raises `ConnectionResetError` if the caller left or the answer gets too long.
        """
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        elif self._left >= 0:
            self._left -= len(data)
            if self._left < 0:
                raise ConnectionResetError("the answer is longer than it said")
        if self._head is not None:
            head, self._head = self._head, None
            data = head + data
            self._request.status = self._status
        return self._send(data)

    def end(self) -> None:
        """Raises `ConnectionResetError` if the answer is incomplete."""
        if self._left > 0:
            raise ConnectionResetError("the answer is shorter than it said")
        if self._head is not None:
            self.write(b"")
        if self._chunked:
            self._send(b"0\r\n\r\n")


def _head(request: HttpRequest, status: int, headers: Mapping[str, str]) -> bytes:
    """Raises `ValueError` if a header contains a line break."""
    request.keeps = request.keeps and request.body.complete and not request.wire.ends
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}", request.wire.stamp()]
    for name, value in headers.items():
        lines.append(f"{name}: {value}")
    for name, value in request.always.items():
        lines.append(f"{name}: {value}")
    if not request.keeps:
        lines.append("Connection: close")
    elif not request.head.modern:
        lines.append("Connection: keep-alive")
    text = "\r\n".join(lines)
    breaks = len(lines)  # the stamp contains one of them
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a header of the answer has a line break")
    return f"{text}\r\n\r\n".encode("utf-8", "surrogateescape")
