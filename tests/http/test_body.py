"""Reading a body is bounded in size and time, for one body and for several at once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from router.http import incoming as bodies
from router.http.chunks import BrokenBody
from router.http.headers import Headers
from router.http.http_request import HttpRequest
from router.http.read_buffer import ReadBuffer
from router.http.request_body import RequestBody
from router.http.request_head import RequestHead
from tests.doubles import whole
from tests.eventually import eventually
from tests.http.test_server import CHAT, raw, serving

HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIMIT = 128 * 1024  # bytes


@asynccontextmanager
async def sending(port: int, sent: int) -> AsyncIterator[asyncio.StreamReader]:
    """A body of which only so many bytes arrive."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{HEAD}Content-Length: {LIMIT}\r\n\r\n".encode() + b" " * sent)
        await writer.drain()
        yield reader
    finally:
        writer.close()


async def test_a_body_has_no_longer_than_its_request() -> None:
    async with serving(upload_timeout=60.0, request_timeout=0.05) as running:
        told = await raw(running.port, f"{HEAD}Content-Length: 10\r\n\r\n{{".encode())
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.05 s" in told


async def test_so_many_large_bodies_are_taken_in_at_once_and_small_ones_always() -> None:
    async with serving(max_body=LIMIT) as running, AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(sending(running.port, LIMIT - 1))
            for _ in range(bodies._LARGE_AT_ONCE + 1)
        ]
        answers = [asyncio.create_task(reader.readuntil(b"}}")) for reader in readers]
        done, others = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        (answer,) = done
        assert b"queue_full" in answer.result()
        assert b"Retry-After" in answer.result()
        small = b'{"text": "%b"}' % (b"x" * 1000)
        in_chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(small), small)
        told = await raw(running.port, HEAD.encode() + in_chunks + b"0\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200 ")
        for task in others:
            task.cancel()


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
async def test_a_body_gives_its_place_back_however_it_ends(size: int, status: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b" " * (LIMIT // 2)
        yield b" " * (size - LIMIT // 2)

    async with serving(max_body=LIMIT) as running:
        headers = {"Content-Type": "application/json"}
        for _ in range(2 * bodies._LARGE_AT_ONCE):
            async with running.post(json=None, data=body(), headers=headers) as response:
                assert response.status == status


async def test_beyond_so_many_connections_the_oldest_idle_one_is_closed() -> None:
    async with serving(max_connections=3) as running:
        opened = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(5)]
        for reader, _ in opened[:2]:
            assert await reader.read() == b""
        request = f"{HEAD}Content-Length: 2\r\n\r\n{{}}".encode()
        for reader, writer in opened[2:]:
            writer.write(request)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        for _, writer in opened:
            writer.close()


async def test_refused_connections_keep_no_place_from_others() -> None:
    async with serving(max_connections=2) as running, AsyncExitStack() as opened:
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            opened.callback(writer.close)
            writer.write(b"this is not HTTP\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        told = await raw(running.port, b"GET /ping HTTP/1.0\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200 ")


async def test_a_connection_with_a_request_is_not_closed_for_another() -> None:
    async with serving(max_connections=1) as running, sending(running.port, 1) as busy:
        await eventually(lambda: running.server._active)
        answer = asyncio.create_task(busy.read(1))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert await reader.read() == b""
        writer.close()
        assert not answer.done()
        answer.cancel()


@pytest.mark.parametrize("size", [1, 65536, 1024 * 1024, 1024 * 1024 + 1, 3_000_000])
async def test_a_long_body_stays_in_pieces(size: int) -> None:
    body = b" " * (size - 1) + b"1"
    async with serving() as running:
        headers = {"Content-Type": "application/json"}
        data = io.BytesIO(body)
        async with running.post(json=None, data=data, headers=headers) as response:
            assert response.status == 200
        (seen,) = running.service.seen
    assert isinstance(seen.body, bytes) is (size <= 1024 * 1024)
    assert whole(seen.body) == body
    largest = max(map(len, seen.body)) if isinstance(seen.body, tuple) else 0
    assert largest < 1024 * 1024


async def test_a_body_of_tiny_chunks_is_kept_in_few_pieces() -> None:
    body = b" " * 20 * 60_000
    async with serving() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        writer.write((b"14\r\n" + b" " * 20 + b"\r\n") * 60_000 + b"0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        (seen,) = running.service.seen
    assert isinstance(seen.body, tuple)
    assert whole(seen.body) == body
    assert len(seen.body) <= len(body) / 65536 + 1


class Source:
    def __init__(self) -> None:
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def buffer(data: bytes = b"", source: Source | None = None) -> ReadBuffer:
    waiting = ReadBuffer(source or Source())
    if data:
        waiting.add(data)
    return waiting


async def test_chunks_are_not_looked_at_before_they_are_read() -> None:
    """Otherwise, callers without a key could make the router decode millions of them."""
    body = RequestBody(None, buffer(b"no chunk\r\n"))
    assert body.waiting == len(b"no chunk\r\n")
    for _ in range(2):
        with pytest.raises(BrokenBody):
            await body.read()


async def test_more_is_read_where_all_that_came_was_no_data() -> None:
    trailer, source = b"a:" + b"x" * 4094 + b"\r\n", Source()
    waiting = buffer(b"0\r\n" + trailer * 32, source)
    assert not source.reads
    reading = asyncio.create_task(RequestBody(None, waiting).read())
    await eventually(lambda: source.reads)
    assert not reading.done()
    reading.cancel()


async def test_tiny_chunks_are_decoded_in_many_turns_of_the_loop() -> None:
    waiting = buffer(b"1\r\na\r\n" * 40_000 + b"0\r\n\r\nnext")
    body, turns = RequestBody(None, waiting), 0

    async def read() -> bytes:
        data = b""
        while piece := await body.read():
            data += piece
        return data

    reading = asyncio.create_task(read())
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert await reading == b"a" * 40_000
    assert waiting.take(100) == b"next"
    assert turns >= 40


class JsonRequest:
    """The parts of a request that a `BodyReader` reads."""

    content_type = "application/json"

    def __init__(self, body: RequestBody) -> None:
        self.head, self.headers, self.body = RequestHead(), Headers(), body

    def ask_for_body(self) -> None:
        pass


class LargeChunks(RequestBody):
    """Records each body that is read."""

    def __init__(self, chunks: int, notes: list[str]) -> None:
        super().__init__(None, buffer())
        self._to_come, self._notes = chunks, notes

    async def read(self) -> bytes:
        if not self._to_come:
            return b""
        self._to_come -= 1
        self._notes.append("chunk")
        return b" " * 1024 * 1024


class TinyChunks(RequestBody):
    def __init__(self, chunks: int, notes: list[str]) -> None:
        super().__init__(None, buffer(b"1\r\n1\r\n" * chunks + b"0\r\n\r\n"))
        self._notes = notes

    async def read(self) -> bytes:
        data = await super().read()
        self._notes.append("chunk")
        return data


async def test_a_callers_tiny_chunks_are_decoded_some_in_each_turn_of_the_loop() -> None:
    reader, notes = bodies.BodyReader(32 * 1024 * 1024, 60.0), list[str]()
    requests = [cast("HttpRequest", JsonRequest(TinyChunks(20_000, notes))) for _ in range(8)]
    reading = [asyncio.create_task(reader.read_json(request, "a")) for request in requests]
    while not all(task.done() for task in reading):
        notes.append("turn")
        await asyncio.sleep(0)
    told = "".join(note[0] for note in notes).strip("t").strip("c").strip("t")
    assert "ccc" not in told
    assert told.count("c") > 100


async def test_a_callers_large_bodies_are_read_a_chunk_in_each_turn_of_the_loop() -> None:
    reader, notes = bodies.BodyReader(32 * 1024 * 1024, 60.0), list[str]()
    requests = [cast("HttpRequest", JsonRequest(LargeChunks(5, notes))) for _ in range(8)]
    reading = [asyncio.create_task(reader.read_json(request, "a")) for request in requests]
    while not all(task.done() for task in reading):
        notes.append("turn")
        await asyncio.sleep(0)
    begun = "".join(note[0] for note in notes).split("t", 3)[3]  # all have their first chunk
    assert "cc" not in begun
    assert begun.count("c") > 16
    assert not reader._steps
