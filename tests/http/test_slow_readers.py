"""Unread answers end. Slow but steady readers get their whole answer."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from router.http.reading import Reading
from router.requests.request import Request
from tests.eventually import eventually
from tests.fake_service import DONE, EVENT, SSE, Answer, Head, Piece, hangs, says
from tests.http.test_server import CHAT, Running, serving
from tests.loop_clock import LoopClock

PATIENCE = 0.4  # seconds
LARGE = 12 << 20  # bytes, more than the kernel buffers
PATIENT = {"read_timeout": PATIENCE}


@asynccontextmanager
async def reader(running: Running, path: str = CHAT) -> AsyncIterator[socket.socket]:
    """A caller with a small buffer that has sent its request."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(caller, ("127.0.0.1", running.port))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await loop.sock_sendall(caller, f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        yield caller


async def flood(_: Request) -> AsyncGenerator[Piece, None]:
    yield SSE
    while True:
        yield EVENT
        await asyncio.sleep(0)


async def drip(_: Request) -> AsyncGenerator[Piece, None]:
    """No more than the kernel buffers, so that writing never blocks."""
    yield SSE
    while True:
        yield EVENT * 20
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(flood, id="a stream as fast as it can be sent"),
        pytest.param(drip, id="a slow stream"),
        pytest.param(hangs(SSE, EVENT * 1000), id="a stream that waits"),
        pytest.param(says(b"x" * LARGE), id="a whole answer"),
        pytest.param(says(b"x" * LARGE, head=Head(200, {"X": "y"})), id="of unknown length"),
    ],
)
async def test_an_answer_that_is_not_read_ends(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serving(answer, **PATIENT) as running, reader(running):
        await running.service.closed.wait()
    logged = [record.getMessage() for record in caplog.records]
    assert sum("not read" in line for line in logged) == 1
    (access,) = (line for line in logged if line.startswith("POST"))
    assert re.match(rf"POST {CHAT} not_read total ", access)


async def test_a_few_bytes_now_and_then_are_no_reading() -> None:
    async with serving(flood, **PATIENT) as running, reader(running) as caller:
        closed = asyncio.create_task(running.service.closed.wait())
        while not closed.done():
            with suppress(BlockingIOError):
                caller.recv(1)
            await asyncio.wait([closed], timeout=PATIENCE / 4)


async def test_a_slow_but_steady_reader_gets_it_all() -> None:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        for _part in range(20):
            yield EVENT * 100
            await asyncio.sleep(PATIENCE / 10)
        yield DONE

    LoopClock(PATIENCE / 10)  # the reader must not seem slow because the machine pauses
    async with serving(answer, **PATIENT) as running, reader(running) as caller:
        told, loop = b"", asyncio.get_running_loop()
        while not told.endswith(b"0\r\n\r\n"):
            part = await loop.sock_recv(caller, 1024)
            assert part, "the connection ended"
            told += part
            await asyncio.sleep(0.005)
        assert DONE in told


async def test_an_answer_that_is_long_in_coming_is_no_unread_one() -> None:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        await asyncio.sleep(3 * PATIENCE)
        yield DONE

    async with serving(answer, **PATIENT) as running, running.post() as response:
        assert await response.read() == DONE


async def test_the_end_of_an_answer_has_to_be_read_as_well() -> None:
    """Otherwise, connections that nobody reads from would add up."""
    in_the_kernel = b"x" * (1 << 20)
    async with serving(says(in_the_kernel), **PATIENT) as running, reader(running) as caller:
        await running.service.closed.wait()
        (server,) = running.server._servers
        await eventually(lambda: not server.connections)
        assert len(caller.recv(1 << 20)) < 10_000
        with pytest.raises(ConnectionResetError):
            caller.recv(1)


def test_progress_is_what_was_under_way_or_the_slowest_speed() -> None:
    reading = Reading(patience=10.0, now=0.0)
    assert not reading.has_stalled(1.0, sent=1_000_000, unread=1_000_000)
    assert not reading.has_stalled(10.0, sent=1_000_000, unread=999_000)
    assert not reading.has_stalled(10.0, sent=1_000_000, unread=997_400)  # a new stretch
    assert not reading.has_stalled(19.0, sent=1_000_000, unread=997_000)
    assert reading.has_stalled(20.0, sent=1_000_000, unread=997_000)


def test_a_few_bytes_under_way_have_to_be_taken_too() -> None:
    reading = Reading(patience=10.0, now=0.0)
    assert not reading.has_stalled(1.0, sent=100, unread=10)
    assert not reading.has_stalled(10.0, sent=120, unread=30)
    assert reading.has_stalled(11.0, sent=120, unread=30)


def test_the_next_answer_begins_anew() -> None:
    reading = Reading(patience=10.0, now=0.0)
    assert not reading.has_stalled(1.0, sent=5000, unread=0)
    assert not reading.has_stalled(20.0, sent=0, unread=0)
    assert not reading.has_stalled(21.0, sent=50, unread=50)
    assert not reading.has_stalled(30.0, sent=50, unread=50)
