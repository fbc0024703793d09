"""Endless bodies, wrong lengths, slow uploads and idle connections over HTTP. Others are served
during and after them."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.e2e.caller import CHAT, Caller
from tests.e2e.harness import Harness
from tests.e2e.processes import open_files, resident
from tests.worker import Worker

MODEL, LIMIT = "acme/model", 1_000_000
TOO_LARGE, INVALID = (413, "body_too_large"), (400, "invalid_request")
AT_ONCE = 60.0  # seconds, enough for the busiest machine
# Seconds of a request: uploads take longer, and others less even if the machine pauses.
LONGEST = 15


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model(MODEL)
    environ = {"MAX_BODY_BYTES": f"{LIMIT}B", "REQUEST_TIMEOUT": str(LONGEST)}
    with harness.worker(**environ) as worker:
        yield worker


@pytest.fixture
async def other(caller: Caller) -> AsyncIterator[Caller]:
    """Check that this caller is served at once before and after."""
    await served(caller)
    yield caller
    async with asyncio.timeout(AT_ONCE):
        await served(caller)


async def served(caller: Caller) -> None:
    assert (await caller.chat(MODEL)).text == f"I am {MODEL}"


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"[" * 100_000 + b"]" * 100_000, INVALID),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, INVALID),
        (b'{"messages":' + b"[" * 500_000, INVALID),
        (b'{"a":' + b"9" * 500_000 + b"}", INVALID),
        (b'{"a":1e' + b"9" * 500_000 + b"}", INVALID),
        (b'{"a":"' + b"\\ud800" * 1000 + b'"}', INVALID),
        (b'{"a":"' + b"\xff" * 1000 + b'"}', INVALID),
        (b"\xef\xbb\xbf{}", INVALID),
        (b'{"a":NaN}', INVALID),
        (b"0" * LIMIT, INVALID),
        (b" " * LIMIT + b"{}", TOO_LARGE),
    ],
    ids=[
        *("arrays", "objects", "open arrays", "long number", "exponent", "surrogates"),
        *("no text", "byte order mark", "no number", "zeros", "too large"),
    ],
)
async def test_an_absurd_body_is_refused(
    other: Caller, body: bytes, refusal: tuple[int, str]
) -> None:
    headers = {"Content-Type": "application/json"}
    async with asyncio.timeout(AT_ONCE):
        answer = await other.send("POST", CHAT, body, headers)
    assert answer.refusal == refusal


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Content-Length": "1000001"}, "413"),
        ({"Content-Length": "1" + "0" * 30}, "4"),
        ({"Content-Length": "-1"}, "400"),
        ({"Content-Length": "2, 3"}, "400"),
        ({"Content-Length": "2", "Transfer-Encoding": "chunked"}, "400"),
    ],
)
async def test_a_length_that_is_a_lie_is_refused_before_a_body_is_read(
    worker: Worker, other: Caller, headers: dict[str, str], told: str
) -> None:
    lines = [f"POST {CHAT} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    address = urlsplit(worker.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write("\r\n".join([*lines, "", "{}"]).encode())
    answer = await asyncio.wait_for(reader.readline(), AT_ONCE)
    writer.close()
    assert answer.split(b" ")[1].decode().startswith(told), answer


async def test_a_body_without_an_end_is_refused_at_the_limit(
    worker: Worker, other: Caller
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    before = resident(worker.pid)
    async with aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/json"}
        url = worker.url + CHAT
        async with session.post(url, data=endless(), headers=headers) as response:
            assert response.status == 413
    assert resident(worker.pid) - before < 20 << 20


async def test_slow_uploads_end_in_time_and_hold_up_nobody(
    worker: Worker, other: Caller
) -> None:
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(slowly(worker)) for _ in range(50)]
        await served(other)
        assert not any(answer.done() for answer in slow)
        for answer in asyncio.as_completed(slow, timeout=90):
            assert f"did not arrive within {LONGEST} s".encode() in await answer


async def test_large_uploads_together_take_bounded_memory(
    worker: Worker, other: Caller
) -> None:
    before = resident(worker.pid)
    async with AsyncExitStack() as stack:
        sent = [
            await stack.enter_async_context(slowly(worker, b" " * (LIMIT - 1000)))
            for _ in range(100)
        ]
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(AT_ONCE):
            await served(other)
        assert resident(worker.pid) - before < 80 << 20
        answers = [await answer for answer in sent]
    assert sum(b"queue_full" in answer for answer in answers) > 50


async def test_idle_connections_are_bounded_and_leave_room(
    worker: Worker, other: Caller
) -> None:
    with files_allowed(10_000):
        address = urlsplit(worker.url)
        async with AsyncExitStack() as stack:
            for _ in range(4500):
                connection = socket.create_connection((address.hostname, address.port))
                stack.enter_context(closing(connection))
            async with asyncio.timeout(AT_ONCE):
                await served(other)
            assert open_files(worker.pid) < 4200


@asynccontextmanager
async def slowly(worker: Worker, first: bytes = b"{") -> AsyncIterator[asyncio.Task[bytes]]:
    """Send a body byte by byte after its first part. Yields the answer."""
    address = urlsplit(worker.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)

    async def drip() -> bytes:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {LIMIT}\r\n\r\n".encode() + first)
        answer = asyncio.create_task(reader.readuntil(b"}}"))
        while not answer.done():
            await asyncio.wait([answer], timeout=0.2)
            if not writer.is_closing():
                writer.write(b" ")
        return answer.result()

    task = asyncio.create_task(drip())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        writer.close()


@contextmanager
def files_allowed(count: int) -> Iterator[None]:
    """Raise the limit of open files for this process, which holds the other ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        pytest.skip(f"no {count} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
