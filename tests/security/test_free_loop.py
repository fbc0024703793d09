"""While one caller's body is parsed, however large and odd, others are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.bench.shapes import SHAPES
from tests.e2e.caller import CHAT, calling
from tests.e2e_runpod.harness import QueueHarness, said
from tests.security.harness import Site, site

MODEL = "acme/model"
LONG = 8_000_000  # bytes; parsing them takes seconds
MEANWHILE = 5  # answers to others during that time
READ = 100  # pings; after that many, a worker has read everything sent earlier


def hostile() -> bytes:
    """A body that is refused as soon as it is parsed."""
    _, made = SHAPES["keys"]
    return b'{"lora_path":"x",' + made(LONG)[1:]


@pytest.fixture(scope="module")
def http(harness: QueueHarness) -> Iterator[Site]:
    harness.model(MODEL)
    with site(harness, "http") as place:
        yield place


async def test_pings_that_come_later_are_answered_before_a_large_body(http: Site) -> None:
    body = hostile()
    address = urlsplit(http.worker.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    await writer.drain()
    async with calling(http.worker.url) as caller:
        for _ in range(READ):
            await caller.get("/ping")
        writer.write(body[-1:])
        answer = asyncio.create_task(reader.readuntil(b"}}"))
        pings = 0
        while not answer.done():
            await caller.get("/ping")
            pings += 1
    assert b"lora_path" in await answer
    writer.close()
    assert pings > MEANWHILE


async def test_a_job_that_comes_later_is_answered_before_a_large_one(
    harness: QueueHarness,
) -> None:
    harness.model("acme/other")
    with site(harness, "queue") as place:
        assert place.endpoint is not None
        await asyncio.to_thread(place.endpoint.chat("acme/other").wait)
        large = place.endpoint.submit(openai_route=CHAT, openai_input=json.loads(hostile()))
        others = [place.endpoint.chat("acme/other") for _ in range(MEANWHILE)]
        for other in others:
            assert said(await asyncio.to_thread(other.wait)) == "I am acme/other"
        assert large.outcome is None
        assert "lora_path" in (await asyncio.to_thread(large.wait)).error
