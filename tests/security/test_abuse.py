"""Odd bodies and many names, over HTTP and the queue. Other callers are served during and after
them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.caller import CHAT, Json, chat
from tests.e2e.processes import resident
from tests.e2e_runpod.harness import QueueHarness
from tests.security.harness import Client, Site, site

MODEL = "acme/model"
AT_ONCE = 60.0  # seconds: far below any deadline of the worker, even on the busiest machine


@pytest.fixture(scope="module")
def model(harness: QueueHarness) -> None:
    harness.model(MODEL)


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness, model: None) -> Iterator[Site]:
    with site(harness, request.param) as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    """Check that others are served at once before and after."""
    async with place.client() as client:
        await served(client)
        yield client
        async with asyncio.timeout(AT_ONCE):
            await served(client)


async def served(client: Client) -> None:
    assert (await client.chat(MODEL)).text == f"I am {MODEL}"


def nested(levels: int) -> Json:
    content: Json = {}
    for _ in range(levels // 2):
        content = {"a": [content]}
    return content


@pytest.mark.parametrize(
    "content",
    [
        nested(400),
        {f"key-{number}": number for number in range(10_000)},
        {"max_tokens": 10**400},
        {"temperature": [1e308] * 1000},
        {"user": "x" * 500_000},
        {"messages": [{"role": "user", "content": "x"}] * 10_000},
        {"messages": {"role": "user"}},
        {"messages": [[[[]]]] * 1000},
    ],
    ids=["deep", "wide", "long number", "numbers", "text", "messages", "object", "lists"],
)
async def test_an_odd_body_is_answered_or_refused(client: Client, content: Json) -> None:
    seen = await client.ask(CHAT, chat(MODEL, **content))
    assert seen.code in ("", "invalid_request"), seen.content


@pytest.mark.parametrize("place", ["http"], indirect=True)
async def test_millions_of_values_are_refused_at_once(place: Site, client: Client) -> None:
    body = b'{"messages":[' + b"[]," * 10_000_000 + b"[]]}"
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(AT_ONCE):
        sent = session.post(place.worker.url + CHAT, data=io.BytesIO(body), headers=headers)
        async with sent as response:
            assert (await response.json())["error"]["code"] == "invalid_request"
    assert resident(place.worker.pid) < 400 << 20


async def test_a_thousand_names_leave_the_worker_as_it_was(place: Site, client: Client) -> None:
    count = 1000 if place.kind == "http" else 100  # a job takes longer
    before = resident(place.worker.pid)
    for start in range(0, count, 100):
        names = [f"mallory/{number}" for number in range(start, start + 100)]
        *refused, other = await asyncio.gather(*map(client.chat, [*names, MODEL]))
        # Above the budget for new names, the Hub is not asked.
        assert {seen.code for seen in refused} <= {"model_not_found", "rate_limited"}
        assert other.text == f"I am {MODEL}"
    assert resident(place.worker.pid) - before < 20 << 20
