"""`python -m tests.bench.splice PORT UPSTREAM`: the simplest relay possible in Python.

It copies bytes between a caller's connection and its own connection to the upstream. It does
not parse HTTP.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class _End(asyncio.Protocol):
    """One end. It writes what it receives to the other end, or keeps it until there is one."""

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self.kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.kept.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.abort()


class _Caller(_End):
    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        upstream, end = await asyncio.get_running_loop().create_connection(_End, *self._address)
        if self.transport.is_closing():
            upstream.abort()
            return
        end.other, self.other = self.transport, upstream
        upstream.writelines(self.kept)


async def serve(port: int, upstream: str) -> None:
    host, _, at = upstream.partition(":")
    server = await asyncio.get_running_loop().create_server(
        lambda: _Caller(host, int(at)), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
