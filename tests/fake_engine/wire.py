"""Just enough HTTP/1.1 for a peer that is never the bottleneck: keep-alive, no pipelining."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str  # without the query
    headers: dict[str, str]  # names in lower case
    body: bytes
    query: str = ""


class Reply:
    """The answer to one request. The engine may die in the middle of it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.sent = 0  # bytes of the body
        self.die_after: int | None = None
        self._transport = transport
        self._writable = asyncio.Event()
        self._writable.set()

    def whole(self, status: int, content: object = None) -> None:
        """Send a whole answer: JSON, or no body if `content` is None."""
        body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
        kind = ["content-type: application/json"] if body else []
        head = _head(status, f"content-length: {len(body)}", *kind)
        kept = self._until_death(body)
        self._transport.write(head + kept)
        self._go_on(kept, body)

    def begin(self) -> None:
        kind = "content-type: text/event-stream; charset=utf-8"
        self._transport.write(_head(200, "transfer-encoding: chunked", kind))

    async def event(self, data: bytes) -> None:
        await self._writable.wait()
        kept = self._until_death(data)
        if kept:
            self._transport.write(b"%x\r\n%b\r\n" % (len(kept), kept))
        self._go_on(kept, data)

    def end(self) -> None:
        self._transport.write(b"0\r\n\r\n")

    def pause(self) -> None:
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()

    def _until_death(self, data: bytes) -> bytes:
        return data if self.die_after is None else data[: self.die_after - self.sent]

    def _go_on(self, kept: bytes, data: bytes) -> None:
        self.sent += len(kept)
        if len(kept) < len(data):
            die()


Handler = Callable[[Request, Reply], Awaitable[None]]
Cancelled = Callable[[Request, Reply], None]


class Connection(asyncio.Protocol):
    """The requests of one client, one after another."""

    def __init__(self, handler: Handler, cancelled: Cancelled) -> None:
        self._handler = handler
        self._cancelled = cancelled
        self._transport: asyncio.Transport
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._reply: Reply | None = None
        self._request: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def pause_writing(self) -> None:
        if self._reply is not None:
            self._reply.pause()

    def resume_writing(self) -> None:
        if self._reply is not None:
            self._reply.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None and self._request is not None and self._reply is not None:
            self._task.cancel()
            self._cancelled(self._request, self._reply)

    def _next(self) -> None:
        if self._task is not None:
            return
        head, found, rest = self._received.partition(_HEAD_END)
        if not found:
            return
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        method, target, _ = request_line.split(" ")
        self._received = rest[length:]
        path, _, query = target.partition("?")
        self._request = Request(method, path, headers, rest[:length], query)
        self._reply = Reply(self._transport)
        self._task = asyncio.create_task(self._serve(self._request, self._reply))

    async def _serve(self, request: Request, reply: Reply) -> None:
        await self._handler(request, reply)
        self._task = None
        if request.headers.get("connection", "").lower() == "close":
            self._transport.close()
        else:
            self._next()


def _head(status: int, *headers: str) -> bytes:
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return "\r\n".join([line, *headers, "\r\n"]).encode()


def die() -> None:
    """End like a crashed engine: written bytes are still sent, but nothing else."""
    os.kill(os.getpid(), signal.SIGKILL)
