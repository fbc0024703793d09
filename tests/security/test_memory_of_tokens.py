"""The worker's memory holds a request's token during the request, and no longer.

The search covers all objects that Python can reach. Two finds prove that it works: the worker's
own token, and a request's token while it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import pytest

from tests.e2e.caller import CHAT, chat
from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import Site, site
from tests.security.memory import Memory

SERVED, SLOW = "acme/served", "acme/slow"


@dataclass(frozen=True)
class Searched:
    place: Site
    memory: Memory
    own: str  # the worker's own token

    async def holders(self, token: str) -> set[str]:
        """Which of the two are in memory: the worker's own token, and this one."""
        markers = {"own": self.own, "theirs": token}
        return set(await self.memory.search(self.place.worker, markers))

    async def until_started(self) -> None:
        """Wait until the settings are read: the worker can be searched before that."""
        markers = {"own": self.own}
        assert await self.memory.search_until({"own"}, self.place.worker, markers)

    async def until_forgotten(self, token: str) -> None:
        """Wait: the end of a request takes until its engine and its caller know of it."""
        markers = {"own": self.own, "theirs": token}
        left = await self.memory.search_until({"own"}, self.place.worker, markers)
        assert left.keys() == {"own"}, left


@pytest.fixture(scope="module")
def models(harness: QueueHarness) -> None:
    harness.model(SERVED, private=True)
    harness.model(SLOW, private=True, **ENDLESS)


@pytest.fixture(scope="module", params=["http", "queue"])
def searched(
    request: pytest.FixtureRequest,
    harness: QueueHarness,
    models: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Searched]:
    memory = Memory(tmp_path_factory.mktemp("memory") / "of the worker")
    own = harness.hub.add_account("acme")
    environ = {"HF_TOKEN": own, "MAX_LOADED_MODELS": "2"} | memory.environment()
    with site(harness, request.param, **environ) as place:
        yield Searched(place, memory, own)


async def test_it_is_there_while_its_request_runs_and_gone_when_the_caller_is(
    searched: Searched, harness: QueueHarness
) -> None:
    token, before = (
        harness.hub.add_account("acme"),
        len(harness.journal.events("request", SLOW)),
    )
    await searched.until_started()
    assert await searched.holders(token) == {"own"}
    async with searched.place.client() as client:
        request = asyncio.create_task(client.chat(SLOW, token))
        await eventually(lambda: len(harness.journal.events("request", SLOW)) > before)
        assert await searched.holders(token) == {"own", "theirs"}
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request
        await searched.until_forgotten(token)


async def test_it_is_gone_when_its_request_was_served(
    searched: Searched, harness: QueueHarness
) -> None:
    token = harness.hub.add_account("acme")
    async with searched.place.client() as client:
        assert (await client.chat(SERVED, token)).text == f"I am {SERVED}"
        assert (await client.look(SERVED, token)).content["id"] == SERVED
        await searched.until_forgotten(token)


async def test_it_is_gone_when_its_request_was_refused(
    searched: Searched, harness: QueueHarness
) -> None:
    token = harness.hub.add_account("stranger")
    async with searched.place.client() as client:
        assert (await client.chat(SERVED, token)).code == "model_not_found"
        await searched.until_forgotten(token)
        harness.hub.expire(token)
        assert (await client.chat(f"{SERVED}-not", token)).code == "invalid_hf_token"
        await searched.until_forgotten(token)


@pytest.mark.parametrize("searched", ["http"], indirect=True)
async def test_a_connection_that_stays_open_does_not_keep_what_came_over_it(
    searched: Searched, harness: QueueHarness
) -> None:
    header, body = (harness.hub.add_account("acme") for _ in range(2))
    url = searched.place.worker.url + CHAT
    async with aiohttp.ClientSession() as session:
        for headers, fields in (({"X-HF-Token": header}, {}), ({}, {"hf_token": body})):
            asked = session.post(url, json=chat(SERVED, **fields), headers=headers)
            async with asked as response:
                assert response.status == 200
                await response.read()
        connector = session.connector
        assert connector is not None
        assert connector._conns, "nothing was kept open"
        for token in (header, body):
            await searched.until_forgotten(token)
