"""One connection to an engine: sends a request and reads the answer as it is generated.

It uses the parser that uvicorn uses, because a full HTTP client costs several times as much for
each request and each event. It only connects to our own engines on loopback: no redirects, no
cookies, no proxies, no TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from router.outbox import Outbox
from router.requests.interfaces import UpstreamLost
from router.side_process import Body, pieces

_SHOWN = {
    name.encode(): name
    for name in ("content-type", "content-length", "content-encoding", "retry-after")
}
_FRAMES = (b"content-length", b"transfer-encoding")  # headers that say where a body ends
_MOST_HEAD = 64 * 1024  # bytes of all headers of an answer
_JOINED = 64 * 1024  # bytes; a longer body is not copied to join it with its head
# Bytes of an answer that are buffered for a slow caller before reading from the engine pauses.
_MOST_KEPT = 128 * 1024


class EngineConnection(asyncio.Protocol):
    """Call `send`, `head`, and `read` until it returns b"". Then the next request may follow.

    `forget` is called once, when the connection is gone.
    """

    __slots__ = (
        "_buffered",
        "_complete",
        "_failure",
        "_forget",
        "_framed",
        "_full",
        "_head_size",
        "_held_back",
        "_keeps",
        "_loop",
        "_lost",
        "_outbox",
        "_parser",
        "_paused",
        "_pieces",
        "_sent",
        "_sink",
        "_transport",
        "_waiter",
        "headers",
        "idle_since",
        "on_body",
        "peer",
        "status",
    )

    def __init__(
        self, peer: str, outbox: Outbox, forget: Callable[[EngineConnection], None]
    ) -> None:
        self.peer, self._outbox, self._forget = peer, outbox, forget
        self.status = 0  # of the answer; 0: no head yet
        self.headers: dict[str, str] = {}  # headers that the caller may see
        self.idle_since = 0.0  # by the loop's clock
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []  # unread pieces of the body
        self.on_body = self._pieces.append  # the parser calls this for each chunk
        self._buffered = self._head_size = 0
        self._complete = True  # no answer is expected
        self._sent = self._keeps = True
        self._paused = self._held_back = self._framed = False
        self._lost: str | None = None  # why the connection ended
        self._sink: Callable[[bytes], bool] | None = None  # receives data as it arrives
        self._full = False  # the sink takes no more, or has failed
        self._failure: Exception | None = None  # the sink's error

    async def send(self, head: bytes, body: Body) -> None:
        """Send a request. Returns early if the answer arrives before everything is sent."""
        self.status, self.headers, self._head_size = 0, {}, 0
        self._complete = self._framed = self._sent = False
        if isinstance(body, bytes) and len(body) <= _JOINED:
            self._outbox.write(self._transport, head + body)
        else:
            self._transport.write(head)
            for piece in pieces(body):
                while self._paused and not self.status and self._lost is None:
                    await self._wait()
                if self.status or self._lost is not None:
                    return
                self._transport.write(piece)
        self._sent = True

    async def head(self) -> None:
        """Wait for `status` and `headers`. Raises `UpstreamLost`."""
        while not self.status:
            if self._lost is not None:
                raise UpstreamLost(self._lost)
            await self._wait()

    async def read(self) -> bytes:
        """Implements `UpstreamResponse.read`."""
        while not self._pieces:
            if self._complete:
                return b""
            if self._lost is not None:
                raise UpstreamLost(self._lost)
            await self._wait()
        return self._taken()

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Implements `UpstreamResponse.pour`."""
        if self._pieces and not sink(self._taken()):
            return False
        self._sink = sink  # used until it takes no more
        try:
            while not self._full:
                if self._complete:
                    return True
                if self._lost is not None:
                    raise UpstreamLost(self._lost)
                await self._wait()
            if self._failure is not None:
                raise self._failure
            return False
        finally:
            self._sink, self._full, self._failure = None, False, None

    def _taken(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._held_back:
            self._held_back = False
            self._transport.resume_reading()
        return data

    @property
    def reusable(self) -> bool:
        """Whether the connection can take another request."""
        done = self._complete and self._sent and not self._pieces
        return done and self._keeps and self._lost is None

    def abort(self) -> None:
        """Close the connection at once. The engine then stops generating its answer."""
        self._lose("the connection was closed")

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None
            if waiter.done() and not waiter.cancelled():
                self._outbox.to_come -= 1

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            self._outbox.to_come += 1

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            self._transport.abort()
        self._wake()

    # --- the transport's calls -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        assert self._parser is not None, "still connected"  # noqa: S101
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._lose(f"the engine's answer is not HTTP: {type(error).__name__}")
        pieces = self._pieces
        if not pieces:
            return
        if self._sink is None:
            self._keep(len(data))
            return
        try:
            more = self._sink(pieces.pop() if len(pieces) == 1 else self._taken())
        except Exception as failure:  # noqa: BLE001 - `pour` raises it
            self._failure, more = failure, False
        if not more:
            self._sink, self._full = None, True
            self._wake()

    def _keep(self, size: int) -> None:
        """Note more unread bytes."""
        self._buffered += size
        if self._buffered > _MOST_KEPT and not self._held_back:
            self._held_back = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None  # it refers to this object
        if self.status and not self._framed and exc is None and self._lost is None:
            self._complete, self._keeps = True, False  # closing the connection ends such a body
        if self._lost is None:
            reason = "it was closed" if exc is None else type(exc).__name__
            self._lost = f"the connection to the engine failed: {reason}"
        self._wake()
        self._forget(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    # --- the parser's calls; `feed_data` raises what they raise ---------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _MOST_HEAD:
            raise ValueError("the headers are too long")
        name = name.lower()
        if name in _FRAMES:
            self._framed = True
        shown = _SHOWN.get(name)
        if shown is not None and not self.status:  # ignore trailers
            self.headers[shown] = value.decode("utf-8", "surrogateescape")

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "it calls"  # noqa: S101
        status = self._parser.get_status_code()
        if status < 200:  # an interim response
            self.headers, self._framed = {}, False
        elif not self._complete:
            self.status = status
            self._wake()

    def on_message_complete(self) -> None:
        assert self._parser is not None, "it calls"  # noqa: S101
        if self.status:
            self._complete, self._keeps = True, self._parser.should_keep_alive()
            self._wake()
