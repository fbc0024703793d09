"""Answers made in one turn of the loop are written together, and none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from router.outbox import Outbox
from router.requests.request import Request
from tests.eventually import eventually
from tests.fake_service import SSE, Head, Piece, says
from tests.http.test_connection import LARGE, LAST, connected, post
from tests.http.test_server import serving

OK = Head(200, {"content-length": "2"})


class CountingOutbox(Outbox):
    """`sizes`: how many writes went out together, each time."""

    __slots__ = ("sizes",)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def flush(self) -> None:
        if self._waiting:
            self.sizes.append(len(self._waiting))
        super().flush()


@pytest.fixture
def outbox() -> CountingOutbox:
    return CountingOutbox()


async def test_the_answers_to_requests_that_come_together_go_out_together(
    outbox: CountingOutbox,
) -> None:
    async with serving(says(b"{}", head=OK), outbox=outbox) as running:
        ends = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        (server,) = running.server._servers
        await eventually(lambda: len(server.connections) == len(ends))
        for connection in server.connections:
            connection.data_received(post(b"{}"))
        assert outbox.to_come == len(ends)
        for reader, writer in ends:
            assert (await reader.readuntil(b"\r\n\r\n{}")).startswith(b"HTTP/1.1 200 OK")
            writer.close()
    assert outbox.sizes == [len(ends)]
    assert not outbox.to_come


async def test_a_request_alone_is_answered_at_once(outbox: CountingOutbox) -> None:
    async with connected(says(b"{}", head=OK), outbox=outbox) as (_, connection, reader, _):
        connection.data_received(post(b"{}"))
        await reader.readuntil(b"\r\n\r\n{}")
    assert not outbox.sizes


async def test_a_caller_that_leaves_before_its_turn_is_not_waited_for(
    outbox: CountingOutbox,
) -> None:
    async with connected(says(b"{}", head=OK), outbox=outbox) as (running, connection, _, _):
        connection.data_received(post(b"{}"))
        assert outbox.to_come == 1
        connection.eof_received()
        assert outbox.to_come == 0
        await asyncio.sleep(0)
        assert outbox.to_come == 0
        assert not running.service.seen


@pytest.mark.parametrize(
    ("request_", "status"), [(LAST, b"200"), (b"BAD\r\n\r\n", b"400")], ids=["last", "refused"]
)
async def test_a_connection_that_ends_sends_first_what_waits_for_others(
    outbox: CountingOutbox, request_: bytes, status: bytes
) -> None:
    async with connected(outbox=outbox) as (_, connection, reader, _):
        outbox.to_come = 1  # another request's write, which takes longer
        connection.data_received(request_)
        told = await reader.read()
    assert told.startswith(b"HTTP/1.1 " + status)
    assert told.endswith(b"}")


async def test_an_answer_that_is_not_read_stays_in_progress(outbox: CountingOutbox) -> None:
    """Even if other writes are pending: only REQUEST_TIMEOUT ends it then."""
    answer = says(bytes(LARGE), head=Head(200, {"content-length": str(LARGE)}))
    async with connected(answer, outbox=outbox) as (_, connection, _, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        outbox.to_come = 1
        connection.data_received(post(b"{}"))
        await eventually(lambda: connection.paused)
        await asyncio.sleep(0)
        assert connection.busy
        assert not connection.is_idle
        writer.transport.abort()


async def test_a_stream_that_is_not_read_is_held_back(outbox: CountingOutbox) -> None:
    given = 0

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        nonlocal given
        yield SSE
        while given < 2000:
            given += 1
            yield bytes(1 << 14)  # short enough to wait for others

    async with connected(answer, outbox=outbox) as (_, connection, _, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        outbox.to_come = 1
        connection.data_received(post(b"{}"))
        await eventually(lambda: connection.paused)
        writer.transport.abort()
    assert given < 2000
