"""The upstream connection, with a real loopback server that misbehaves on request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from router.outbox import Outbox
from router.requests.engine_connection import EngineConnection
from router.requests.interfaces import UpstreamLost, UpstreamRequest, UpstreamResponse
from router.requests.trace_context import Trace
from router.requests.upstream import HttpUpstream
from router.secrets import Secret

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DEADLINE = 90.0  # seconds; a test that hangs fails
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class RawServer:
    """A raw server: `script` handles every connection; `heads` are the request heads."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.url = ""
        self.connections = 0
        self.heads: list[str] = []
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                for line in head.decode().lower().splitlines():
                    if line.startswith("content-length:"):
                        await reader.readexactly(int(line.split(":")[1]))
                await self.script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[tuple[RawServer, HttpUpstream]]:
    server = RawServer(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    way = HttpUpstream()
    try:
        async with asyncio.timeout(DEADLINE):
            yield server, way
    finally:
        await way.close()
        listener.close()


def post(url: str) -> UpstreamRequest:
    return UpstreamRequest(f"{url}/generate", Secret("key of the engine"), b"{}")


async def whole_body(response: UpstreamResponse) -> bytes:
    body = b""
    while data := await response.read():
        body += data
    return body


def answers(data: bytes) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return script


def whole(body: bytes, head: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def opened(answer: bytes) -> AsyncIterator[UpstreamResponse]:
    async with (
        raw_server(answers(answer)) as (server, way),
        way.open(post(server.url)) as response,
    ):
        yield response


async def test_an_answer_arrives_byte_for_byte_and_its_connection_is_used_again() -> None:
    body = bytes(range(256)) * 1000
    async with raw_server(answers(whole(body))) as (server, way):
        for _ in range(3):
            async with way.open(post(server.url)) as response:
                assert response.status == 200
                assert await whole_body(response) == body
        assert server.connections == 1


async def test_chunks_arrive_as_they_are_sent() -> None:
    more = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with raw_server(script) as (server, way), way.open(post(server.url)) as response:
        assert await response.read() == b"one"
        more.set()
        assert await response.read() == b"two"
        assert await response.read() == b""


async def test_leaving_early_closes_the_connection_at_once() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        await reader.readexactly(1)

    async with raw_server(script) as (server, way):
        async with way.open(post(server.url)) as response:
            assert await response.read() == b"one"
        await server.left.wait()


async def test_a_cancelled_caller_closes_the_connection_while_the_head_is_awaited() -> None:
    asked = asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.readexactly(1)

    async def ask(way: HttpUpstream, url: str) -> None:
        async with way.open(post(url)):
            pytest.fail("there was no answer")

    async with raw_server(script) as (server, way):
        task = asyncio.create_task(ask(way, server.url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.left.wait()


async def test_no_answer_at_all_is_a_lost_upstream() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw_server(script) as (server, way):
        with pytest.raises(UpstreamLost) as lost:
            async with way.open(post(server.url)):
                pytest.fail("there was no answer")
        assert lost.value.reached  # perhaps it killed the engine


async def test_a_refused_connection_is_a_lost_upstream() -> None:
    async with raw_server(answers(b"")) as (server, way):
        closed = server.url.rsplit(":", 1)[0] + ":1"
        with pytest.raises(UpstreamLost) as lost:
            async with way.open(post(closed)):
                pytest.fail("nothing listens there")
        assert not lost.value.reached


@pytest.mark.parametrize(
    "torn", [CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"50\r\nhel", whole(b"hello")[:-2]]
)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_body_that_breaks_off_is_a_lost_upstream(torn: bytes, how: str) -> None:
    received = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(torn)
        await received.wait()
        getattr(writer.transport, how)()

    async with raw_server(script) as (server, way), way.open(post(server.url)) as response:
        assert await response.read() in (b"hello", b"hel")
        received.set()
        with pytest.raises(UpstreamLost):
            await response.read()


async def test_what_is_not_http_is_a_lost_upstream() -> None:
    async with raw_server(answers(b"220 smtp ready\r\n\r\n")) as (server, way):
        with pytest.raises(UpstreamLost):
            async with way.open(post(server.url)):
                pytest.fail("that was no answer")


async def test_only_listed_headers_travel_either_way() -> None:
    head = (
        "Content-Type: text/plain\r\nServer: uvicorn\r\nSet-Cookie: a=b\r\nX-Path: /root\r\n"
        "Connection: keep-alive\r\n"
    )
    async with raw_server(answers(whole(b"ok", head))) as (server, way):
        for _ in range(2):  # a cookie would be sent with the second
            async with way.open(post(server.url)) as response:
                assert response.headers == {"content-type": "text/plain", "content-length": "2"}
        for lines in server.heads:
            names = {line.split(":")[0].lower() for line in lines.splitlines()[1:] if line}
            assert names == {
                "host",
                "content-type",
                "accept",
                "content-length",
                "authorization",
            }
            assert "Authorization: Bearer key of the engine" in lines.splitlines()


@pytest.mark.parametrize("state", ["", "a=1"])
async def test_a_trace_travels_to_the_engine(state: str) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    async with raw_server(answers(whole(b"ok"))) as (server, way):
        request = replace(post(server.url), trace=Trace(parent, state))
        async with way.open(request) as response:
            assert response.status == 200
        lines = server.heads[0].splitlines()
    assert f"traceparent: {parent}" in lines
    assert [line for line in lines if "tracestate" in line] == ["tracestate: a=1"] * bool(state)


async def test_a_read_that_is_cancelled_loses_no_byte() -> None:
    more = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with raw_server(script) as (server, way), way.open(post(server.url)) as response:
        assert await response.read() == b"one"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.read(), 0.01)
        more.set()
        assert await whole_body(response) == b"two"


async def test_a_redirect_is_an_answer_and_not_an_order() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with opened(moved) as response:
        assert response.status == 302


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async with opened(whole(b"\x1f\x8bnot", "Content-Encoding: gzip\r\n")) as response:
        assert await whole_body(response) == b"\x1f\x8bnot"
        assert response.headers["content-encoding"] == "gzip"


async def test_an_error_of_the_reader_is_not_taken_for_the_engines() -> None:
    async with raw_server(answers(whole(b"ok"))) as (server, way):
        with pytest.raises(OSError, match="mine"):
            async with way.open(post(server.url)):
                raise OSError("mine")


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with opened(whole(b"ok")) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20, None),
        (b"no HTTP at all\r\n\r\n", None),
    ],
)
async def test_what_an_engine_says_of_itself_is_bounded(
    answer: bytes, said: str | None
) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw_server(script) as (server, way):
        assert await way.get(f"{server.url}/metrics", Secret("the engine's own"), 10) == said
    assert "Authorization: Bearer the engine's own" in server.heads[0]


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        writer.close()

    async with raw_server(script) as (server, way), way.open(post(server.url)) as response:
        assert await whole_body(response) == b"all of it"


async def test_an_interim_answer_is_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n"
    async with opened(interim + whole(b"ok")) as response:
        assert response.status == 200
        assert response.headers == {"content-length": "2"}
        assert await whole_body(response) == b"ok"


async def test_a_trailer_is_no_header() -> None:
    data = CHUNKED + b"2\r\n{}\r\n0\r\nContent-Type: a/b\r\n\r\n"
    async with raw_server(answers(data)) as (server, way), way.open(post(server.url)) as answer:
        assert await whole_body(answer) == b"{}"
        assert answer.headers == {"content-type": "text/event-stream"}


async def test_a_connection_with_more_than_an_answer_is_not_used_again() -> None:
    async with raw_server(answers(whole(b"one") + whole(b"two"))) as (server, way):
        for _ in range(2):
            async with way.open(post(server.url)) as response:
                assert await whole_body(response) == b"one"
        assert server.connections == 2


async def test_a_connection_that_the_engine_wants_to_close_is_not_used_again() -> None:
    async with raw_server(answers(whole(b"ok", "Connection: close\r\n"))) as (server, way):
        for _ in range(2):
            async with way.open(post(server.url)) as response:
                assert await whole_body(response) == b"ok"
        assert server.connections == 2


async def test_headers_without_end_are_a_lost_upstream() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    async with raw_server(script) as (server, way):
        with pytest.raises(UpstreamLost):
            async with way.open(post(server.url)):
                pytest.fail("there was no answer")


class Wire(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def test_an_engine_is_held_back_while_its_answer_is_not_read() -> None:
    connection, wire = EngineConnection("127.0.0.1:1", Outbox(), lambda _: None), Wire()
    connection.connection_made(wire)
    await connection.send(b"POST ...", b"{}")
    connection.data_received(whole(bytes(1 << 20))[: 1 << 19])
    assert not wire.reading
    assert len(await connection.read()) > 1 << 18
    assert wire.reading


class Bucket:
    """A sink that takes bytes; if full, no more."""

    def __init__(self, *, full: bool = False) -> None:
        self.got: list[bytes] = []
        self.full = full

    def __call__(self, data: bytes) -> bool:
        self.got.append(data)
        return not self.full


async def begun() -> tuple[EngineConnection, Wire]:
    """A connection that has received the beginning of an answer."""
    connection, wire = EngineConnection("127.0.0.1:1", Outbox(), lambda _: None), Wire()
    connection.connection_made(wire)
    await connection.send(b"POST ...", b"{}")
    connection.data_received(CHUNKED + b"3\r\none\r\n")
    return connection, wire


async def test_what_is_poured_arrives_in_no_task() -> None:
    bucket, (connection, _) = Bucket(), await begun()
    task = asyncio.create_task(connection.pour(bucket))
    await asyncio.sleep(0)
    assert bucket.got == [b"one"]
    connection.data_received(b"3\r\ntwo\r\n5\r\nthree\r\n")
    assert bucket.got == [b"one", b"twothree"]
    connection.data_received(b"4\r\nfour\r\n0\r\n\r\n")
    assert bucket.got[2:] == [b"four"]
    assert await task is True
    assert connection.reusable


async def test_what_a_sink_does_not_take_waits_for_the_next() -> None:
    bucket, (connection, wire) = Bucket(full=True), await begun()
    task = asyncio.create_task(connection.pour(bucket))
    await asyncio.sleep(0)
    connection.data_received(b"3\r\ntwo\r\n")
    assert bucket.got == [b"one"]
    assert await task is False
    connection.data_received(b"20000\r\n" + bytes(1 << 17) + b"\r\n0\r\n\r\n")
    assert not wire.reading
    bucket.full = False
    assert await connection.pour(bucket) is True
    assert bucket.got == [b"one", b"two" + bytes(1 << 17)]
    assert wire.reading


async def test_what_a_sink_raises_is_raised_where_it_was_given() -> None:
    connection, _ = await begun()

    def fail(_: bytes) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await connection.pour(fail)
    connection.data_received(b"3\r\ntwo\r\n")
    assert await connection.read() == b"two"


@pytest.mark.parametrize("cancelled", ["never", "before it comes", "after it came"])
async def test_what_waits_for_an_answer_is_counted_once_it_goes_on(cancelled: str) -> None:
    """Whatever happens: otherwise, each later write would wait for it."""
    outbox = Outbox()
    connection = EngineConnection("127.0.0.1:1", outbox, lambda _: None)
    connection.connection_made(Wire())
    await connection.send(b"POST ...", b"{}")
    task = asyncio.create_task(connection.head())
    await asyncio.sleep(0)
    if cancelled == "before it comes":
        task.cancel()
    connection.data_received(CHUNKED + b"3\r\none\r\n")
    assert outbox.to_come == (0 if cancelled == "before it comes" else 1)
    if cancelled == "after it came":
        task.cancel()
    await asyncio.wait([task])
    assert outbox.to_come == 0


async def test_pouring_that_is_cancelled_loses_nothing() -> None:
    bucket, (connection, _) = Bucket(), await begun()
    task = asyncio.create_task(connection.pour(bucket))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    connection.data_received(b"3\r\ntwo\r\n0\r\n\r\n")
    assert await connection.read() == b"two"
    assert bucket.got == [b"one"]


async def test_a_connection_that_is_lost_ends_the_pouring() -> None:
    bucket, (connection, _) = Bucket(), await begun()
    task = asyncio.create_task(connection.pour(bucket))
    await asyncio.sleep(0)
    connection.data_received(b"3\r\ntwo\r\n")
    connection.connection_lost(None)
    with pytest.raises(UpstreamLost):
        await task
    assert bucket.got == [b"one", b"two"]


async def test_an_answer_can_come_before_all_of_a_long_body_is_sent() -> None:
    too_large = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    over = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(too_large)
        await over.wait()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    way, port = HttpUpstream(), listener.sockets[0].getsockname()[1]
    body = (bytes(32 << 20),)
    request = UpstreamRequest(f"http://127.0.0.1:{port}/generate", Secret("key"), body)
    async with asyncio.timeout(DEADLINE), way.open(request) as response:
        assert response.status == 413
    over.set()
    await way.close()
    listener.close()


async def test_a_long_body_arrives_whole() -> None:
    body = tuple(bytes([number]) * 100_000 for number in range(50))
    got = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got.extend(await reader.readexactly(5_000_000))
        writer.write(whole(b"ok"))
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    way, port = HttpUpstream(), listener.sockets[0].getsockname()[1]
    request = UpstreamRequest(f"http://127.0.0.1:{port}/generate", Secret("key"), body)
    async with asyncio.timeout(DEADLINE), way.open(request) as response:
        assert await whole_body(response) == b"ok"
    assert got == b"".join(body)
    await way.close()
    listener.close()
