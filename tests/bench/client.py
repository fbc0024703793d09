"""A cheap load generator: handwritten HTTP/1.1 with keep-alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

_EVENT = b"data: "


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. Latencies in seconds, sorted."""

    latencies: list[float]
    elapsed: float

    @property
    def requests(self) -> int:
        return len(self.latencies)

    @property
    def median(self) -> float:
        return self.latencies[len(self.latencies) // 2]

    @property
    def p99(self) -> float:
        return self.latencies[int(len(self.latencies) * 0.99)]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.elapsed


class _Caller(asyncio.Protocol):
    """Sends the same request again as soon as the answer is complete."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request, self._until, self._latencies = request, until, latencies
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(self._buffer.decode(errors="replace")))
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("closed in mid-answer"))

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
        self._transport.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer without a length: {head!r}")


class _Listener(asyncio.Protocol):
    """Sends one request and counts the events of its answer."""

    def __init__(self, request: bytes) -> None:
        self.events = 0
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self.events += data.count(_EVENT)
        self._tail = data[-len(_EVENT) + 1 :]
        if self.events and not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(exc or ConnectionResetError("closed without an event"))


async def load(
    url: str, body: bytes, callers: int, seconds: float, headers: Mapping[str, str] = {}
) -> Sample:
    """Keep `callers` connections busy with POSTs of `body` for `seconds`."""
    host, port, request = _request(url, body, headers)
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = [
        await loop.create_connection(
            lambda: _Caller(request, began + seconds, latencies), host, port
        )
        for _ in range(callers)
    ]
    await asyncio.gather(*(caller.done for _, caller in connections))
    return Sample(sorted(latencies), time.perf_counter() - began)


class Streams:
    """Open event streams, each past its first event."""

    def __init__(self, listeners: list[_Listener]) -> None:
        self._listeners = listeners

    @property
    def events(self) -> int:
        """The number of events so far, over all streams."""
        return sum(listener.events for listener in self._listeners)


@asynccontextmanager
async def streams(
    url: str, body: bytes, count: int, headers: Mapping[str, str] = {}
) -> AsyncIterator[Streams]:
    """Hold `count` streams open, each on its own connection, and close them at the end."""
    host, port, request = _request(url, body, headers)
    loop = asyncio.get_running_loop()
    connections = [
        await loop.create_connection(lambda: _Listener(request), host, port)
        for _ in range(count)
    ]
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*(listener.begun for _, listener in connections))
        yield Streams([listener for _, listener in connections])
    finally:
        for transport, _ in connections:
            transport.abort()


def _request(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[str, int, bytes]:
    """The host, the port, and the bytes to send."""
    parts = urlsplit(url)
    further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{further}\r\n"
    )
    return parts.hostname or "", parts.port or 80, head.encode() + body
