"""A connection handles any bytes, in any pieces."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import socket
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http.answers import HttpAnswer
from router.http.connection import Connection
from router.http.http_request import HttpRequest
from router.requests.request import Request
from tests.eventually import eventually
from tests.fake_service import DONE, EVENT, SSE, Answer, Head, Piece, fails, hangs, says
from tests.http.pieces import cut, cuts
from tests.http.test_server import CHAT, Running, serving

JSON = "Host: localhost\r\nContent-Type: application/json\r\n"
LARGE = 12 << 20  # bytes, more than the kernel buffers
LAST = b"GET /v1/models/org/last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def post(body: bytes, *fields: str, chunks: int = 0) -> bytes:
    """A request. Its body is in chunks of this size, or in one piece."""
    lines = [f"POST {CHAT} HTTP/1.1", *JSON.splitlines(), *fields]
    if chunks:
        lines.append("Transfer-Encoding: chunked")
        parts = [body[at : at + chunks] for at in range(0, len(body), chunks)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def echoes() -> Answer:
    async def answer(request: Request) -> AsyncGenerator[Piece, None]:
        assert isinstance(request.body, bytes)
        yield Head(200, {"content-length": str(len(request.body))})
        yield request.body

    return answer


@asynccontextmanager
async def connected(
    answer: Answer | None = None, **options: object
) -> AsyncIterator[tuple[Running, Connection, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A caller, and the server's end of its connection, which gets bytes piece by piece."""
    async with serving(answer, **options) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        (server,) = running.server._servers
        await eventually(lambda: server.connections)
        (connection,) = server.connections
        try:
            yield running, connection, reader, writer
        finally:
            writer.close()


def without_dates(told: bytes) -> bytes:
    return re.sub(rb"(?m)^(Date|X-Request-Id): .*\r\n", b"", told)


# In any pieces


requests = st.lists(
    st.tuples(st.binary(max_size=60), st.sampled_from([0, 1, 7])).map(
        lambda drawn: post(drawn[0], chunks=drawn[1])
    )
    | st.sampled_from([b"GET /ping HTTP/1.1\r\n\r\n", b"HEAD /health HTTP/1.1\r\nA:b\r\n\r\n"]),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(requests, cuts())
def test_the_same_bytes_are_the_same_requests_wherever_they_are_cut(
    sent: list[bytes], at: list[int]
) -> None:
    data = b"".join([*sent, LAST])

    async def told(pieces: list[bytes]) -> tuple[list[Request], bytes]:
        async with connected(echoes()) as (running, connection, reader, _):
            for piece in pieces:
                connection.data_received(piece)
                await asyncio.sleep(0)
            return running.service.seen, without_dates(await reader.read())

    whole = asyncio.run(told([data]))
    assert asyncio.run(told(cut(data, at))) == whole
    assert whole[1].count(b"HTTP/1.1 200 OK\r\n") == len(sent) + 1


words = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"/ping", CHAT.encode(), b" HTTP/1.1", b" HTTP/1.0", b"\r\n"),
        *(
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"Host: localhost",
            b"Content-Length: ",
            b"2",
            b"-",
        ),
        *(b"Transfer-Encoding: chunked", b"Connection: Upgrade", b"Upgrade: h2c", b"0", b":"),
        *(b"Content-Type: application/json", b"{}", b"Expect: 100-continue", b"PRI * HTTP/2.0"),
        post(b"{}"),
        post(b"{}", chunks=1),
    ]
)
garbage = st.binary(max_size=300) | st.lists(words, max_size=30).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(garbage, cuts())
def test_no_bytes_break_a_connection(data: bytes, at: list[int]) -> None:
    async def send() -> bytes:
        async with connected(echoes()) as (running, connection, reader, writer):
            for piece in cut(data, at):
                if not connection.over:
                    connection.data_received(piece)
                await asyncio.sleep(0)
            writer.write_eof()
            told = await reader.read()
            (server,) = running.server._servers
            await eventually(lambda: not server.connections)
            assert not running.server._active
            return told

    told = asyncio.run(send())
    assert told == b"" or told.startswith(b"HTTP/1.1 ")
    assert b"internal_error" not in told


# Bytes that could be read as two requests, or as another request


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length: ",
        "Content-Length: 2 2",
        "Content-Length : 2",
        "Content-Length\t: 2",
        "Content-Length: 1\r\n 0",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding : chunked",
        "X: a\nContent-Length: 2",
        "X: a\rContent-Length: 2",
        "X: \x00",
        "X\x00: a",
        "X y: a",
        ": a",
        "X",
        " X: a",
        "X: a\r\n\tb",
    ],
)
async def test_a_head_that_others_may_read_differently_is_refused(head: str) -> None:
    start = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with connected() as (running, connection, reader, _):
        connection.data_received(f"{start}{head}\r\n\r\n{{}}".encode() + LAST)
        told = await reader.read()
        assert told.startswith(b"HTTP/1.1 400 ")
        assert told.count(b"HTTP/1.1 ") == 1
        assert not running.service.seen


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/0.9",
        "GET /",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1 ",
        "GET / RTSP/1.0",
        "GET /a b HTTP/1.1",
        "GET /\x7f\xff HTTP/1.1",
        "get / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "PRI * HTTP/2.0",
        "\x16\x03\x01\x02",
    ],
)
async def test_a_line_that_is_no_request_is_refused(line: str) -> None:
    async with connected() as (_, connection, reader, _):
        connection.data_received(f"{line}\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\nHost: a\n\n", b"\0"]
)
async def test_what_can_become_no_request_is_refused_before_its_end(data: bytes) -> None:
    async with connected() as (_, connection, reader, _):
        connection.data_received(data)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "chunks", ["2\n{}\r\n0\r\n\r\n", "2 \r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n", "3\r\n{}\r\n"]
)
async def test_chunks_that_others_may_read_differently_end_the_connection(chunks: str) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    async with connected() as (running, connection, reader, _):
        connection.data_received(f"{head}{chunks}".encode() + LAST)
        told = await reader.read()
        assert told.startswith(b"HTTP/1.1 400 ")
        assert told.count(b"HTTP/1.1 ") == 1
        assert not running.service.seen


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    """Some clients offer HTTP/2 with each first request, and still send its body as usual."""
    async with connected(echoes()) as (_, connection, reader, _):
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
        connection.data_received(post(b"first", *offer) + post(b"then", "Connection: close"))
        told = await reader.read()
    assert re.findall(rb"first|then", told) == [b"first", b"then"]


async def test_white_space_around_a_value_is_no_part_of_it() -> None:
    async with connected() as (running, connection, reader, _):
        connection.data_received(post(b"{}", "X-HF-Token: \t mine \t ", "Connection: close"))
        await reader.read()
        assert running.service.seen[0].hf_token == "mine"


# Requests sent ahead


async def test_requests_sent_ahead_are_answered_in_turn() -> None:
    async with connected(echoes()) as (_, connection, reader, _):
        sent = b"".join(post(b"%04d" % number) for number in range(500))
        connection.data_received(sent + post(b"last", "Connection: close"))
        told = await reader.read()
    answered = re.findall(rb"\r\n\r\n(\d{4}|last)", told)
    assert answered == [*(b"%04d" % number for number in range(500)), b"last"]


async def test_what_is_sent_ahead_is_not_read_without_bound() -> None:
    async with connected(hangs(SSE)) as (running, _, _, writer):
        writer.write(post(b"{}"))
        await running.service.began.wait()
        sent = 0
        writer.transport.set_write_buffer_limits(1 << 20)
        while writer.transport.get_write_buffer_size() < 1 << 20:  # until nothing more is sent
            writer.write(post(b"{}") * 1000)
            sent += 1
            await asyncio.sleep(0.001)
            assert sent < 1000
        (server,) = running.server._servers
        (connection,) = server.connections
        assert connection._buffer.size < 1 << 20
        assert len(running.service.seen) == 1


async def test_the_body_of_a_request_that_waits_is_not_read_without_bound() -> None:
    async with connected(max_body=1 << 30) as (_, connection, _, writer):
        head = f"POST /nowhere HTTP/1.1\r\n{JSON}Content-Length: 1000000000\r\n\r\n"
        connection.data_received(head.encode())
        connection.data_received(b" " * 200_000)
        assert connection.held_back
        writer.transport.abort()


async def test_a_body_in_tiny_chunks_is_not_read_faster_than_it_is_decoded() -> None:
    async with connected(echoes()) as (_, connection, reader, _):
        sent = post(b"a" * 90_000, "Connection: close", chunks=1)
        head, end, body = sent.partition(b"\r\n\r\n")
        connection.data_received(head + end)
        connection.data_received(body)
        request = connection._request
        assert request is not None
        while not request.body.complete:
            assert connection.held_back or request.body.waiting <= 128 * 1024
            await asyncio.sleep(0)
        assert not connection.held_back
        assert (await reader.read()).endswith(b"a" * 90_000)


# Callers that leave


@pytest.mark.parametrize("sent", [post(b"{}"), post(b"{}")[:-1]])
async def test_a_request_of_a_caller_that_left_is_not_kept(sent: bytes) -> None:
    async with connected(hangs(SSE)) as (_, connection, _, writer):
        writer.write(sent)
        await eventually(lambda: connection._task)
        request = weakref.ref(connection._task)
        gc.collect()
        gc.disable()
        try:
            writer.transport.abort()
            await eventually(lambda: request() is None)
        finally:
            gc.enable()


async def test_a_caller_that_leaves_behind_what_it_sent_ahead_ends_its_request() -> None:
    async with connected(hangs(SSE), read_timeout=0.4) as (running, connection, _, writer):
        writer.write(post(b"{}"))
        await running.service.began.wait()
        writer.write(post(b"{}") * 2000)
        await eventually(lambda: connection.held_back)
        writer.close()
        await running.service.closed.wait()


@pytest.mark.parametrize(
    ("sent", "gives_way"),
    [
        (b"GET /ping HTTP/1.1\r\n\r\n", False),
        (b"GET /ping HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"GET /ping HTTP/1.1\r\n\r\n" * 2, True),
    ],
)
async def test_answers_to_requests_sent_ahead_that_are_not_read_keep_no_place_from_others(
    sent: bytes, gives_way: bool
) -> None:
    async def large(_: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, body=b"x" * LARGE)

    async with connected(max_connections=1) as (running, connection, _, writer):
        (server,) = running.server._servers
        server.handler = large
        writer.write(sent)
        await eventually(lambda: connection.paused)
        another, its = await asyncio.open_connection("127.0.0.1", running.port)
        its.write(LAST)
        served = await another.read(12)
        assert served == (b"HTTP/1.1 200" if gives_way else b"")
        assert connection.over == gives_way
        its.transport.abort()
        writer.transport.abort()


async def test_a_connection_that_ended_is_not_kept_for_what_might_have_come() -> None:
    async with connected() as (running, connection, reader, writer):
        writer.write(f"POST /nowhere HTTP/1.1\r\n{JSON}Content-Length: 9\r\n\r\n".encode())
        await reader.read()
        assert connection._lingering is not None
        writer.close()
        (server,) = running.server._servers
        await eventually(lambda: not server.connections)
        assert connection._lingering.cancelled()


@pytest.mark.parametrize("how", ["abort", "close", "write_eof"])
async def test_a_caller_that_leaves_before_its_body_came_ends_its_request(how: str) -> None:
    async with connected() as (running, connection, _, writer):
        writer.write(post(b"{}" * 100)[:-10])
        await eventually(lambda: running.server._active)
        getattr(writer.transport, how)()
        (server,) = running.server._servers
        await eventually(lambda: not server.connections)
        assert not running.server._active
        assert connection.over


async def test_a_caller_that_closes_its_half_has_left() -> None:
    async with connected(hangs(SSE, EVENT)) as (running, _, reader, writer):
        writer.write(post(b"{}"))
        await running.service.began.wait()
        writer.write_eof()
        await running.service.closed.wait()
        assert not (await reader.read()).endswith(b"0\r\n\r\n")


async def test_a_refusal_is_read_by_a_caller_that_still_sends() -> None:
    async with connected(max_body=1000) as (_, _, reader, writer):
        writer.write(f"POST {CHAT} HTTP/1.1\r\n{JSON}Content-Length: 9999999\r\n\r\n".encode())
        for _ in range(100):
            writer.write(b" " * 65536)
        await writer.drain()
        assert b"body_too_large" in await reader.read()


# Answers


async def test_small_pieces_are_sent_at_once() -> None:
    async with connected() as (_, connection, _, _):
        there = connection._transport.get_extra_info("socket")
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("streams", [True, False])
async def test_no_header_of_an_answer_becomes_two(
    value: str, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {**(SSE.headers if streams else {}), "x-from-engine": value}
    async with connected(says(b"{}", head=Head(200, fields))) as (_, connection, reader, _):
        connection.data_received(post(b"{}", "Connection: close"))
        told = await reader.read()
    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"x-from-engine" not in told
    assert "a defect of the router" in caplog.text


async def test_a_defect_before_a_stream_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refusal waits for other writes; the head of the stream did not."""
    monkeypatch.setattr("router.http.refusals.BURST", 0.0)
    async with connected(fails(ZeroDivisionError(), SSE)) as (_, connection, reader, _):
        connection.data_received(post(b"{}") * 3 + LAST)
        told = await reader.read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", told) == [b"500"] * 3 + [b"200"]


async def test_a_defect_of_a_request_without_a_caller_is_logged_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(request: HttpRequest) -> None:
        cast("Connection", request.wire).abort()
        raise ZeroDivisionError

    async with connected() as (running, connection, reader, _):
        (server,) = running.server._servers
        server.handler = fail
        connection.data_received(LAST)
        await reader.read()
        await eventually(lambda: not server.connections)
        del connection
        gc.collect()
    assert [record.getMessage() for record in caplog.records] == ["a defect of the router"]


async def test_stopping_waits_until_a_written_answer_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("router.http.server._LAST_MOMENT", 0.001)

    async def whole(_: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, body=b"x" * LARGE)

    async with connected() as (running, connection, reader, _):
        (server,) = running.server._servers
        server.handler = whole
        connection.data_received(LAST)
        await eventually(lambda: connection.paused)
        stopping = asyncio.create_task(running.server.stop(60.0))
        await asyncio.wait([stopping], timeout=0.1)
        assert (await reader.read()).endswith(b"x" * LARGE)
        await stopping


async def test_an_answer_that_is_shorter_than_it_says_breaks_off() -> None:
    head = Head(200, {"content-length": "3"})
    async with connected(says(b"{}", head=head)) as (_, connection, reader, _):
        connection.data_received(post(b"{}") + LAST)
        told = await reader.read()
    assert told.count(b"HTTP/1.1 ") == 1
    assert told.endswith(b"\r\n\r\n{}")


async def test_an_answer_that_is_longer_than_it_says_breaks_off() -> None:
    head = Head(200, {"content-length": "3"})
    async with connected(says(b"{}", b"{}", head=head)) as (_, connection, reader, _):
        connection.data_received(post(b"{}") + LAST)
        told = await reader.read()
    assert told.count(b"HTTP/1.1 ") == 1
    assert told.endswith(b"\r\n\r\n{}")


async def test_an_answer_that_can_have_no_body_has_none() -> None:
    async with connected(says(head=Head(204))) as (_, connection, reader, _):
        connection.data_received(post(b"{}") + LAST)
        told = await reader.read()
    assert b"chunked" not in told
    assert told.count(b"HTTP/1.1 ") == 2


async def test_an_answer_says_when_and_by_what_it_was_made() -> None:
    async with connected() as (_, connection, reader, _):
        connection.data_received(LAST)
        told = await reader.read()
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", told)
    assert b"\r\nServer: model-router\r\n" in told


async def test_the_answer_of_a_server_that_leaves_says_so() -> None:
    more = asyncio.Event()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        await more.wait()
        yield Head(200, {"content-length": "4"})
        yield b"done"

    async with connected(answer) as (running, connection, reader, _):
        connection.data_received(post(b"{}") * 2)
        await running.service.began.wait()
        stopping = asyncio.create_task(running.server.stop(60.0))
        await asyncio.sleep(0)
        more.set()
        told = await reader.read()
        await stopping
    assert b"\r\nConnection: close\r\n" in told
    assert told.endswith(b"\r\n\r\ndone")
    assert len(running.service.seen) == 1


async def test_a_request_leaves_nothing_behind_but_its_connection() -> None:
    async with connected(says(EVENT, DONE, head=SSE)) as (_, connection, reader, _):
        connection.data_received(post(b"{}"))
        await reader.readuntil(b"0\r\n\r\n")
        await eventually(lambda: connection.is_idle)
        assert connection._request is None
        assert not connection._buffer.size


async def test_headers_that_never_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.http.watch._KEEP_ALIVE", 0.2)
    async with connected() as (_, _, reader, writer):
        writer.write(b"GET /ping HTTP/1.1\r\nX: ")
        sending = asyncio.create_task(drip(writer))
        with suppress(ConnectionResetError):  # its end can cross the rest of the answer
            assert await reader.read() == b""
        sending.cancel()


async def drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"a")
        await asyncio.sleep(0.02)


async def test_a_request_that_is_read_too_slowly_in_all_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("router.http.server._SLOW_READER", 0.0)
    options = {"request_timeout": 0.2, "read_timeout": 0.8}
    async with connected(hangs(SSE, EVENT), **options) as (running, _, _, writer):
        writer.write(post(b"{}"))
        await running.service.closed.wait()
    assert f"POST {CHAT} not_read total " in caplog.text
    assert "REQUEST_TIMEOUT is over" in caplog.text
