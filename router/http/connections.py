"""All connections of one port: limits their number and closes them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from email.utils import formatdate

from router.http.answers import Handler
from router.http.connection import Connection
from router.outbox import Outbox


class Connections:
    """Creates connections; a protocol factory for the loop's `create_server`.

    Above `most` connections, it closes the oldest one that is spare. See `ConnectionOwner` for
    the other arguments.
    """

    def __init__(
        self,
        handler: Handler,
        outbox: Outbox,
        *,
        most: int,
        read_timeout: float,
        longest: float,
    ) -> None:
        self.handler, self.outbox = handler, outbox
        self.read_timeout, self.longest = read_timeout, longest
        self.leaving = False
        self._most = most
        self._open: dict[Connection, None] = {}  # oldest first
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._stamp, self._second = "", -1

    def __call__(self) -> Connection:
        return Connection(self)

    @property
    def connections(self) -> Collection[Connection]:
        return self._open.keys()

    def add(self, connection: Connection) -> None:
        self._open[connection] = None
        self._none_left.clear()
        if self.leaving:
            connection.close()
        elif len(self._open) > self._most:
            self._make_room()

    def forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)
        if not self._open:
            self._none_left.set()

    def stamp(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._stamp = f"Date: {formatdate(now, usegmt=True)}\r\nServer: model-router"
        return self._stamp

    def leave(self) -> None:
        """Take no further requests. Close each connection after its current request."""
        self.leaving = True
        for connection in list(self._open):
            connection.leave()

    async def close(self, patience: float) -> None:
        """Close all connections. Written data gets `patience` seconds to be sent."""
        self.leaving = True
        for connection in list(self._open):
            connection.close()
        try:
            async with asyncio.timeout(patience):
                await self._none_left.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()

    def _make_room(self) -> None:
        """Close the oldest spare connection, which may be the new one."""
        for connection in self._open:
            if connection.is_spare:
                connection.give_way()
                return
