"""Every question to the Hub belongs to a caller, and only accepted tokens are callers."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.loopback_hub.faults import Faults
from tests.security.harness import SERVED, Client, Seen, Site, site
from tests.security.traces import wanted

OPEN, OTHER, HIDDEN = "acme/Open", "acme/Other", "acme/Hidden"
WINDOW = 40  # requests to the Hub per five minutes, as configured
PLACES = 2  # places of one caller in the queue


def invented() -> str:
    return "hf_" + secrets.token_hex(17)


@pytest.fixture(scope="module")
def models(harness: QueueHarness) -> None:
    for name in (OPEN, OTHER):
        harness.model(name)
    harness.model(HIDDEN, private=True)


@pytest.fixture(params=["http", "queue"])
def place(
    request: pytest.FixtureRequest, harness: QueueHarness, models: None
) -> Iterator[Site]:
    """A new worker for each test, because it remembers answers."""
    environ = {
        "MAX_LOADED_MODELS": "3",
        "MAX_QUEUE_PER_CALLER": str(PLACES),
        "HUB_REQUESTS": str(WINDOW),
    }
    with site(harness, request.param, **environ) as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


@pytest.fixture
def hub_down(harness: QueueHarness) -> Iterator[Faults]:
    yield harness.hub.faults
    harness.hub.faults.clear()


async def ask_for_made_up_names(client: Client, token: str | None = None) -> list[str]:
    codes = []
    for number in range(WINDOW):
        seen = await client.chat(f"nobody/made-up-{number}", token)
        codes.append(seen.code)
    return codes


def limited(seen: Seen) -> bool:
    return seen.code == "rate_limited" and 1 <= seen.content["error"]["retry_after"] <= 300


async def test_made_up_names_use_up_a_part_of_the_hubs_window_and_then_cost_no_question(
    place: Site, client: Client
) -> None:
    hub = place.harness.hub
    before = len(hub.requests)
    codes = await ask_for_made_up_names(client)
    asked = len(hub.requests) - before
    assert codes == ["model_not_found"] * asked + ["rate_limited"] * (WINDOW - asked)
    assert 0 < asked <= WINDOW / 2
    for name in (HIDDEN, "acme/Absent"):
        for seen in (await client.chat(name), await client.look(name)):
            assert limited(seen)
    shown = [(await client.chat(name)).without(name) for name in (HIDDEN, "acme/Absent")]
    # Time passes between the two.
    assert len({re.sub(r"(?i)(retry.after\W+)[0-9]+", r"\1N", one) for one in shown}) == 1
    assert len(hub.requests) - before == asked


async def test_then_other_callers_and_models_in_use_are_served(
    place: Site, client: Client
) -> None:
    hub, owner = place.harness.hub, place.harness.hub.add_account("acme")
    assert (await client.chat(OPEN)).text == f"I am {OPEN}"
    await ask_for_made_up_names(client)
    assert (await client.chat(OPEN)).text == f"I am {OPEN}"
    assert (await client.chat(HIDDEN, owner)).text == f"I am {HIDDEN}"  # a new token
    assert (await client.chat(OTHER, hub.add_account("bob"))).text == f"I am {OTHER}"


async def test_invented_tokens_are_one_caller_and_not_the_one_without(
    place: Site, client: Client
) -> None:
    hub, owner = place.harness.hub, place.harness.hub.add_account("acme")
    assert (await client.chat(HIDDEN, owner)).text == f"I am {HIDDEN}"
    before = len(hub.requests)
    for _ in range(WINDOW):
        seen = await client.chat(OPEN, invented())
    assert limited(seen)
    assert len(hub.requests) - before <= WINDOW / 2
    assert (await client.chat(OPEN)).text == f"I am {OPEN}"
    assert (await client.chat(HIDDEN, owner)).text == f"I am {HIDDEN}"


@asynccontextmanager
async def asking(
    client: Client, model: str, tokens: Iterable[str | None]
) -> AsyncIterator[set[asyncio.Task[Seen]]]:
    tasks = {asyncio.create_task(client.chat(model, token)) for token in tokens}
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_invented_tokens_do_not_get_more_places_in_the_queue(
    place: Site, client: Client, hub_down: Faults
) -> None:
    harness = place.harness
    slow = harness.model(f"acme/Slow-{place.kind}", never_ready=True)
    assert (await client.look(slow)).code == SERVED  # known as public
    hub_down.add("/.*", "503", times=None)
    async with asking(client, slow, (invented() for _ in range(13))) as waiting:
        refused = set[asyncio.Task[Seen]]()
        while len(waiting - refused) > PLACES:
            some, _ = await asyncio.wait(waiting - refused, return_when=asyncio.FIRST_COMPLETED)
            refused |= some
        assert {task.result().code for task in refused} == {"rate_limited"}
        assert (await client.chat(slow)).code == "rate_limited"  # without a token, the same
        assert wanted(place.journal).count(slow) > PLACES + 1  # not only the Hub's budget


async def test_an_accepted_token_has_places_of_its_own(place: Site, client: Client) -> None:
    harness = place.harness
    slow = harness.model(f"acme/Own-{place.kind}", never_ready=True)
    owner = harness.hub.add_account("acme")
    async with asking(client, slow, [None] * PLACES + [owner] * PLACES):
        await eventually(lambda: wanted(place.journal).count(slow) == 2 * PLACES)
        for token in (None, owner):
            assert (await client.chat(slow, token)).code == "rate_limited"


async def test_a_limited_token_buys_no_time_of_a_model_that_became_private(
    place: Site, client: Client
) -> None:
    hub = place.harness.hub
    name = place.harness.model(f"acme/Closing-{place.kind}")
    limited_token = hub.add_account("mallory")
    assert (await client.chat(name, hub.add_account("acme"))).text == f"I am {name}"
    hub.limit(limited_token)
    assert (await client.chat(name, limited_token)).text == f"I am {name}"  # it is public
    closed = place.harness.model(f"acme/Closed-{place.kind}")
    assert (await client.chat(closed, hub.add_account("acme"))).text == f"I am {closed}"
    hub.publish(closed, private=True)
    with place.untouched():
        assert (await client.chat(closed, limited_token)).code == "hub_unavailable"
        assert (await client.look(closed, limited_token)).code == "hub_unavailable"
