"""A loopback server that no request may reach. It counts visits."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

_ELSEWHERE = "/to/"


class MediaHost:
    """Answers every request with a picture, and `/to/<URL>` with a redirect to that URL."""

    def __init__(self) -> None:
        self.port = 0
        self.visits: list[str] = []  # first lines, in any protocol

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/picture"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await reader.readline()).decode(errors="replace")
            self.visits.append(line)
            writer.write(_answer(line))
            await writer.drain()
        except ConnectionError:
            pass  # the client left when it saw that this is not TLS
        finally:
            writer.close()


@asynccontextmanager
async def media_host() -> AsyncIterator[MediaHost]:
    found = MediaHost()
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def picture(side: int = 32) -> bytes:
    """A red square, as PNG."""
    rows = b"".join(b"\0" + b"\xff\0\0" * side for _ in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _answer(line: str) -> bytes:
    path = line.split(" ")[1] if line.startswith("GET ") else ""
    if path.startswith(_ELSEWHERE):
        target = unquote(path.removeprefix(_ELSEWHERE))
        head, body = f"302 Found\r\nLocation: {target}", b""
    else:
        head, body = "200 OK", picture()
    length = f"Content-Length: {len(body)}\r\nConnection: close"
    return f"HTTP/1.1 {head}\r\n{length}\r\n\r\n".encode() + body
