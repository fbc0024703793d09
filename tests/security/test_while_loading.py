"""A private model is loading or stopping. Callers that may not use it request it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import Client, Seen, Site, site
from tests.security.traces import Call, calls, wanted

OTHER = "acme/Other"  # public, and takes the only place


@pytest.fixture(scope="module")
def owner(harness: QueueHarness) -> str:
    harness.model(OTHER)
    return harness.hub.add_account("acme")


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness, owner: str) -> Iterator[Site]:
    with site(harness, request.param, MAX_LOADED_MODELS="1", FETCH_LINGER="0") as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


@pytest.fixture
def name() -> str:
    """A new model for each test."""
    return f"acme/Hidden-{secrets.token_hex(4)}"


@asynccontextmanager
async def asking(
    client: Client, model: str, token: str | None
) -> AsyncIterator[asyncio.Task[Seen]]:
    """A caller that may wait, and leaves at the end."""
    task = asyncio.create_task(client.chat(model, token))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def nobody_else_gets_in(place: Site, client: Client, name: str) -> None:
    """Others get the same answers, and cause the same requests to the Hub, as for a missing
    model."""
    absent = f"acme/Absent-{secrets.token_hex(4)}"
    before = wanted(place.journal)
    for account in (None, "stranger"):
        of_it, of_none = [await look(place, client, model, account) for model in (name, absent)]
        assert of_it == of_none
    assert wanted(place.journal) == before


async def look(
    place: Site, client: Client, model: str, account: str | None
) -> tuple[list[str], list[Call]]:
    """Look with a new token. Returns the answer, and the requests to the Hub."""
    token = account and place.harness.hub.add_account(account)
    since = len(place.harness.hub.requests)
    seen = [await client.chat(model, token), await client.look(model, token)]
    assert {one.code for one in seen} == {"model_not_found"}
    asked = calls(place.harness, since, model)
    # The owner's download and renewals continue meanwhile.
    theirs = [call for call in asked if "MODEL" in call[1] and call[2] == account]
    return [one.without(model) for one in seen], theirs


async def test_while_it_downloads(place: Site, client: Client, owner: str, name: str) -> None:
    hub = place.harness.hub
    before = len(hub.requests)
    place.harness.model(name, private=True)
    hub.faults.add("/cdn/.*", "hang", times=None)
    try:
        async with asking(client, name, owner) as first:
            await eventually(lambda: any("/cdn/" in r.path for r in hub.requests[before:]))
            await nobody_else_gets_in(place, client, name)
            hub.faults.clear()
            assert (await first).text == f"I am {name}"
    finally:
        hub.faults.clear()


async def test_while_it_starts(place: Site, client: Client, owner: str, name: str) -> None:
    place.harness.model(name, private=True, never_ready=True)
    async with asking(client, name, owner) as first:
        await eventually(lambda: place.harness.journal.events("start", name))
        await nobody_else_gets_in(place, client, name)
        assert len(place.harness.journal.events("start", name)) == 1
        place.harness.journal.kill_engine(name)
        assert (await first).code == "engine_failed"  # an engine had started


async def test_while_it_drains(place: Site, client: Client, owner: str, name: str) -> None:
    assert (await client.chat(OTHER)).text == f"I am {OTHER}"  # which has it on disk
    place.harness.model(name, private=True, **ENDLESS)
    async with asking(client, name, owner):
        await eventually(lambda: place.harness.journal.events("request", name))
        async with asking(client, OTHER, None) as other:
            await eventually(lambda: wanted(place.journal)[-1] == OTHER)
            await nobody_else_gets_in(place, client, name)
            assert not other.done()


async def test_while_it_stops(place: Site, client: Client, owner: str) -> None:
    async with asyncio.timeout(300):
        while not await looked_while_it_stopped(place, client, owner):
            pass  # an engine has seconds to stop, in which the machine may pause


async def looked_while_it_stopped(place: Site, client: Client, owner: str) -> bool:
    name = f"acme/Hidden-{secrets.token_hex(4)}"
    assert (await client.chat(OTHER)).text == f"I am {OTHER}"
    place.harness.model(name, private=True, ignore_sigint=True, ignore_sigterm=True)
    assert (await client.chat(name, owner)).text == f"I am {name}"
    async with asking(client, OTHER, None) as other:
        await eventually(lambda: wanted(place.journal)[-1] == OTHER)
        await nobody_else_gets_in(place, client, name)
        in_time = not other.done()
    assert len(place.harness.journal.events("start", name)) == 1
    return in_time
