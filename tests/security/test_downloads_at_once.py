"""Callers that hang up, with downloads of many models at once: few processes, fair turns."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import pytest

from tests.e2e.processes import command
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import Client, Site, site
from tests.security.traces import wanted

FLOOD = 12


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness) -> Iterator[Site]:
    with site(harness, request.param, MAX_LOADED_MODELS="2") as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    # Waiting for a job keeps a thread busy.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * FLOOD))
    async with place.client() as client:
        yield client


@pytest.fixture(autouse=True)
def healthy_again(place: Site) -> Iterator[None]:
    yield
    place.harness.hub.faults.clear()


def downloads(place: Site) -> list[int]:
    pids = place.worker.processes()
    return [pid for pid in pids if "router.downloads.child" in command(pid)]


@asynccontextmanager
async def at_most_two(place: Site) -> AsyncIterator[None]:
    """Check that during the block at most two downloads run at any time."""
    most, over = 0, asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, len(await asyncio.to_thread(downloads, place)))

    watching = asyncio.create_task(watch())
    yield
    over.set()
    await watching
    assert 1 <= most <= 2


class Mallory:
    """Requests many models whose weights never arrive."""

    def __init__(self, place: Site, client: Client) -> None:
        self._place, self._client = place, client
        self._hub = place.harness.hub
        self.token = self._hub.add_account(f"mallory-{secrets.token_hex(4)}")
        org = f"mallory-{secrets.token_hex(4)}"
        self.models = [place.harness.model(f"{org}/model-{n}") for n in range(FLOOD)]
        self._hub.faults.add(f"/{org}/.*/resolve/.*/model.safetensors", "hang", times=None)

    async def flood(self) -> list[asyncio.Task[object]]:
        """Send all requests, and wait until they are in the pool."""
        asked = [
            asyncio.create_task(self._client.chat(model, self.token)) for model in self.models
        ]
        await eventually(lambda: set(self.models) <= set(wanted(self._place.journal)))
        return list(asked)


async def hang_up(requests: list[asyncio.Task[object]]) -> None:
    for request in requests:
        request.cancel()
    for request in requests:
        with suppress(asyncio.CancelledError):
            await request


@pytest.mark.parametrize("leaves", [True, False], ids=["hangs up", "stays"])
async def test_a_flood_of_downloads_takes_two_processes_and_leaves_room_for_others(
    place: Site, client: Client, leaves: bool
) -> None:
    mallory = Mallory(place, client)
    model = place.harness.model(f"acme/{secrets.token_hex(4)}")
    alice = place.harness.hub.add_account(f"alice-{secrets.token_hex(4)}")
    async with at_most_two(place):
        requests = await mallory.flood()
        await eventually(lambda: len(downloads(place)) == 2)
        if leaves:
            await hang_up(requests)
        assert (await client.chat(model, alice)).text == f"I am {model}"
    await hang_up(requests)


async def test_a_model_that_is_on_disk_waits_for_no_download(
    place: Site, client: Client
) -> None:
    models = [place.harness.model(f"acme/{secrets.token_hex(4)}") for _ in range(3)]
    for model in models:  # the last two take the first one's memory
        assert (await client.chat(model)).text == f"I am {model}"
    mallory = Mallory(place, client)
    requests = await mallory.flood()
    await eventually(lambda: len(downloads(place)) == 2)
    before = len(place.harness.hub.requests)
    answer = await client.chat(models[0], mallory.token)  # all of its own places are taken
    assert answer.text == f"I am {models[0]}"
    asked = place.harness.hub.requests[before:]
    assert not [one for one in asked if models[0] in one.path and "safetensors" in one.path]
    await hang_up(requests)
