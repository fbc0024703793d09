"""While one caller's body is parsed, however large and odd, others are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest

from tests.bench.shapes import SHAPES
from tests.e2e.caller import CHAT, calling
from tests.e2e.processes import command, paused
from tests.e2e_runpod.harness import QueueHarness, said
from tests.security.harness import Site, site
from tests.worker import Worker

MODEL = "acme/model"
LONG = 900_000  # bytes; a side process parses them, and may take 30 seconds
MEANWHILE = 5  # answers to others during that time
READ = 100  # pings; after that many, a worker has read everything sent earlier


def hostile() -> bytes:
    """A body that is refused as soon as it is parsed."""
    _, made = SHAPES["keys"]
    return b'{"lora_path":"x",' + made(LONG)[1:]


def side_processes(worker: Worker) -> list[int]:
    """They parse. While they are stopped, no large body is answered, however long the machine
    pauses."""
    children = [child.pid for child in psutil.Process(worker.pid).children()]
    found = [pid for pid in children if "router.side_process_child" in command(pid)]
    assert found
    return found


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
        headers = {"Content-Type": "application/json"}
        assert "lora_path" in str(await caller.send("POST", CHAT, body, headers))
        for _ in range(READ):
            await caller.get("/ping")
        answer = asyncio.create_task(reader.readuntil(b"}}"))
        with paused(*side_processes(http.worker)):
            writer.write(body[-1:])
            for _ in range(MEANWHILE + 1):
                assert (await caller.get("/ping")).status == 200
            assert not answer.done()
    assert b"lora_path" in await answer
    writer.close()


async def test_a_job_that_comes_later_is_answered_before_a_large_one(
    harness: QueueHarness,
) -> None:
    harness.model("acme/other")
    with site(harness, "queue") as place:
        assert place.endpoint is not None
        await asyncio.to_thread(place.endpoint.chat("acme/other").wait)
        job = {"openai_route": CHAT, "openai_input": json.loads(hostile())}
        await asyncio.to_thread(place.endpoint.submit(**job).wait)
        with paused(*side_processes(place.worker)):
            large = place.endpoint.submit(**job)
            others = [place.endpoint.chat("acme/other") for _ in range(MEANWHILE)]
            for other in others:
                assert said(await asyncio.to_thread(other.wait)) == "I am acme/other"
            assert large.outcome is None
        assert "lora_path" in (await asyncio.to_thread(large.wait)).error
