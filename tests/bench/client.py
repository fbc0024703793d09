"""A load generator that costs little: HTTP/1.1 with keep-alive, written out once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. Latencies in seconds, sorted."""

    latencies: list[float]
    elapsed: float

    @property
    def median(self) -> float:
        return self.latencies[len(self.latencies) // 2]

    @property
    def p99(self) -> float:
        return self.latencies[int(len(self.latencies) * 0.99)]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.elapsed


class _Caller(asyncio.Protocol):
    """Sends the same request again as soon as the answer is whole."""

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


async def load(url: str, body: bytes, callers: int, seconds: float) -> Sample:
    """Keep `callers` connections busy with POSTs of `body` for `seconds`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
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
