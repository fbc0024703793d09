"""The connections to engines: sends requests, and returns the answers byte for byte."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import TracebackType

from router.outbox import Outbox
from router.requests.engine_connection import EngineConnection
from router.requests.interfaces import UpstreamLost, UpstreamRequest, UpstreamResponse
from router.requests.trace_context import PARENT, STATE
from router.secrets import Secret
from router.side_process import size

# Seconds. SGLang's uvicorn closes an idle connection after 5 s. A request sent at that moment
# would look like a dead engine, so connections are closed earlier here.
_KEEP_ALIVE = 4.0
_CONNECT_TIMEOUT = 10.0  # seconds; on loopback, an engine that takes longer is stuck


class HttpUpstream:
    """Implements `Upstream`. Create and close it in the running loop.

    `outbox` is shared with the connections to the callers.
    """

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox or Outbox()
        self._open: set[EngineConnection] = set()
        self._idle: dict[str, list[EngineConnection]] = {}  # by host and port, latest last
        self._sweep_timer: asyncio.TimerHandle | None = None  # set while some are idle

    async def close(self) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.sleep(0)  # so that the sockets are closed

    def open(self, request: UpstreamRequest) -> Exchange:
        """Send a request, and return the answer when its head has arrived. Raises
        `UpstreamLost`.

        Leaving the block returns the connection to the pool if the answer is complete, and
        closes it otherwise: SGLang aborts a generation when its caller is gone.
        """
        return Exchange(self, request)

    async def get(self, url: str, key: Secret, most: int) -> str | None:
        """GET `url` from an engine. None: it failed, or the answer exceeds `most` bytes."""
        _, _, peer, path = url.split("/", 3)
        head = (
            f"GET /{path} HTTP/1.1\r\nHost: {peer}\r\nAuthorization: Bearer {key.reveal()}\r\n"
        )
        content = bytearray()
        try:
            connection = await self.take(peer)
            try:
                await connection.send(f"{head}\r\n".encode(), b"")
                await connection.head()
                while len(content) <= most and (data := await connection.read()):
                    content += data
            finally:
                self.give_back(connection)
        except UpstreamLost:
            return None
        whole = connection.status == HTTPStatus.OK and len(content) <= most
        return content.decode(errors="replace") if whole else None

    async def take(self, peer: str) -> EngineConnection:
        """Return an idle connection to `peer`, or a new one. Raises `UpstreamLost`."""
        idle = self._idle.get(peer)
        while idle:
            connection = idle.pop()
            if not idle:
                del self._idle[peer]
            if self._loop.time() - connection.idle_since < _KEEP_ALIVE:
                return connection
            connection.abort()
        host, _, port = peer.rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _, connection = await self._loop.create_connection(
                    lambda: EngineConnection(peer, self._outbox, self._forget), host, int(port)
                )
        except (OSError, TimeoutError) as error:
            name = type(error).__name__
            message = f"the connection to the engine failed: {name}"
            raise UpstreamLost(message, reached=False) from error
        self._open.add(connection)
        return connection

    def give_back(self, connection: EngineConnection) -> None:
        """End an exchange at any stage."""
        if connection.reusable:
            connection.idle_since = self._loop.time()
            self._idle.setdefault(connection.peer, []).append(connection)
            if self._sweep_timer is None:
                self._sweep_timer = self._loop.call_later(_KEEP_ALIVE, self._sweep)
        else:
            connection.abort()

    def _sweep(self) -> None:
        """Close connections that were idle for too long. Repeats while some are idle."""
        since = self._loop.time() - _KEEP_ALIVE
        old = [one for idle in self._idle.values() for one in idle if one.idle_since <= since]
        for connection in old:
            connection.abort()
            self._forget(connection)
        self._sweep_timer = (
            self._loop.call_later(_KEEP_ALIVE, self._sweep) if self._idle else None
        )

    def _forget(self, connection: EngineConnection) -> None:
        """Forget a connection that is gone, no matter which side closed it."""
        self._open.discard(connection)
        idle = self._idle.get(connection.peer)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.peer]


class Exchange:
    """One request and its answer. `async with` returns the answer when its head has arrived."""

    __slots__ = ("_connection", "_request", "_upstream")

    def __init__(self, upstream: HttpUpstream, request: UpstreamRequest) -> None:
        self._upstream, self._request = upstream, request
        self._connection: EngineConnection | None = None

    async def __aenter__(self) -> UpstreamResponse:
        request = self._request
        del self._request  # drop the body, which would be in memory until the answer ends
        _, _, peer, path = request.url.split("/", 3)
        connection = self._connection = await self._upstream.take(peer)
        try:
            await connection.send(_head(request, peer, path), request.body)
            del request
            await connection.head()
        except BaseException:
            self._upstream.give_back(connection)
            raise
        return connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._upstream.give_back(self._connection)


def _head(request: UpstreamRequest, peer: str, path: str) -> bytes:
    """The head of a request. Of the caller's headers, it has only the validated trace."""
    trace = request.trace
    more = "" if trace is None else f"{PARENT}: {trace.parent}\r\n"
    if trace is not None and trace.state:
        more += f"{STATE}: {trace.state}\r\n"
    return (
        f"POST /{path} HTTP/1.1\r\nHost: {peer}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nAuthorization: Bearer {request.key.reveal()}\r\n{more}"
        f"Content-Length: {size(request.body)}\r\n\r\n"
    ).encode()
