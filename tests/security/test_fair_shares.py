"""One caller takes everything it can get: starts, places in flight, places in the queue.
Another caller comes later and is still served, without any per-caller setting."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.caller import CHAT, chat
from tests.e2e.processes import paused
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import SERVED, Client, Seen, Site, site
from tests.security.traces import wanted

ALICE = "This is Alice"
AT_ONCE = 60.0  # seconds, on the busiest machine; a contested start may take 120


@pytest.fixture(scope="module", params=["http", "queue"])
def kind(request: pytest.FixtureRequest) -> str:
    which: str = request.param
    return which


@pytest.fixture(scope="module")
def place(kind: str, harness: QueueHarness) -> Iterator[Site]:
    with site(harness, kind, MAX_LOADED_MODELS="3") as place:
        yield place


@pytest.fixture(autouse=True)
async def threads() -> None:
    # Waiting for a job keeps a thread busy.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(40))


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


@pytest.fixture
def mallory(harness: QueueHarness) -> str:
    return harness.hub.add_account(f"mallory-{secrets.token_hex(4)}")


@pytest.fixture
def alice(harness: QueueHarness) -> str:
    return harness.hub.add_account(f"alice-{secrets.token_hex(4)}")


def model(place: Site, **engine: Any) -> str:
    return place.harness.model(f"acme/{secrets.token_hex(4)}", **engine)


async def asked(
    place: Site, client: Client, name: str, token: str, says: str = "Hello"
) -> asyncio.Task[Seen]:
    """Send a request, and wait until it is in the pool."""
    before = len(wanted(place.journal))
    body = chat(name, messages=[{"role": "user", "content": says}])
    request = asyncio.create_task(client.ask(CHAT, body, token))
    await eventually(lambda: len(wanted(place.journal)) > before)
    return request


async def hang_up(*requests: asyncio.Task[Seen]) -> None:
    for request in requests:
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request


def is_starting(place: Site, name: str) -> bool:
    return bool(place.harness.journal.events("start", name))


async def test_a_start_whose_caller_hung_up_holds_up_nobody(
    place: Site, client: Client, mallory: str, alice: str
) -> None:
    endless, good = model(place, never_ready=True), model(place)
    request = await asked(place, client, endless, mallory)
    await eventually(lambda: is_starting(place, endless))
    await hang_up(request)
    async with asyncio.timeout(AT_ONCE):
        assert (await client.chat(good, alice)).text == f"I am {good}"


async def test_a_start_whose_caller_stays_is_bounded_while_another_caller_waits(
    kind: str, harness: QueueHarness, mallory: str, alice: str
) -> None:
    environ = {"MAX_LOADED_MODELS": "3", "CONTESTED_START_TIMEOUT": "3"}
    with site(harness, kind, **environ) as place:
        first, second = model(place, never_ready=True), model(place, never_ready=True)
        good = model(place)
        async with place.client() as client:
            mine = [await asked(place, client, name, mallory) for name in (first, second)]
            await eventually(lambda: is_starting(place, first) or is_starting(place, second))
            async with asyncio.timeout(AT_ONCE):
                assert (await client.chat(good, alice)).text == f"I am {good}"
            await eventually(lambda: any(request.done() for request in mine))
            told = next(request.result() for request in mine if request.done())
            assert told.code == "engine_failed"
            assert "CONTESTED_START_TIMEOUT" in str(told.content)
            await hang_up(*mine)


async def test_a_caller_with_all_places_makes_room_for_another(
    harness: QueueHarness, mallory: str, alice: str
) -> None:
    """Two of her requests are in flight, and eight fill the queue. This does not apply to
    RunPod's queue: the worker takes at most MAX_CONCURRENCY jobs, in RunPod's order."""
    with site(harness, "http", MAX_CONCURRENCY="2", MAX_QUEUE="8") as place:
        slow = model(place)
        async with place.client() as client:
            assert (await client.chat(slow, mallory)).code == SERVED
            with paused(harness.journal.engine(slow)):
                hers = [await asked(place, client, slow, mallory) for _ in range(10)]
                request = await asked(place, client, slow, alice, ALICE)
            assert (await request).code == SERVED
            outcomes = [(await request).code for request in hers]
    assert outcomes == [*[SERVED] * 9, "queue_full"]
    # Alice's request was the eleventh. It got the first or second place that became free.
    turns = [ALICE in str(event["body"]) for event in harness.journal.events("request", slow)]
    assert turns.index(True) <= 1 + 2 + 1
