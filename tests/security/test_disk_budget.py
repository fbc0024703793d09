"""A disk that is full of models: unused models are removed, and models in use are not."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.changing import below
from tests.e2e.caller import Caller, calling
from tests.e2e.harness import Harness
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import Client, Site, site
from tests.servable import servable
from tests.worker import Worker

SIZE = 100_000  # bytes of each model's weights


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness) -> Iterator[Site]:
    mine = model(harness, "acme/mine-" + request.param)
    environ = {"MODEL_NAME": mine, "MAX_LOADED_MODELS": "1"}
    with site(harness, request.param, DISK_BUDGET="350000B", **environ) as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


def model(harness: Harness, name: str = "", size: int = SIZE) -> str:
    name = name or f"acme/{secrets.token_hex(4)}"
    files = {**servable(), "model.safetensors": name.encode().ljust(size)}
    harness.hub.add_repo(name, files)
    return name


def downloads(harness: Harness, name: str) -> int:
    paths = [one.path for one in harness.hub.requests if one.method == "HEAD"]
    return sum(f"/{name}/resolve/" in path and "safetensors" in path for path in paths)


def on_disk(place: Site, name: str) -> bool:
    hub = Path(place.worker.directory / "hf/hub")
    return bool(below(hub / f"models--{name.replace('/', '--')}", "*.safetensors"))


async def test_the_least_recently_used_leaves_for_a_new_one(
    place: Site, client: Client
) -> None:
    first, second, third = (model(place.harness) for _ in range(3))
    for name in (first, second, first, third):
        assert (await client.chat(name)).text == f"I am {name}"
    assert [on_disk(place, name) for name in (first, second, third)] == [True, False, True]
    assert downloads(place.harness, first) == 1
    mine = f"acme/mine-{place.kind}"
    assert on_disk(place, mine)
    assert (await client.chat(None)).text == f"I am {mine}"
    assert downloads(place.harness, mine) == 1


async def test_a_model_larger_than_the_budget_is_refused_and_the_others_stay(
    place: Site, client: Client
) -> None:
    small, large = model(place.harness), model(place.harness, size=4 * SIZE)
    assert (await client.chat(small)).text == f"I am {small}"
    refused = await client.chat(large)
    assert refused.code == "insufficient_disk"
    assert "350,000 bytes" in str(refused.content)
    assert on_disk(place, small)
    assert not on_disk(place, large)
    assert (await client.chat(small)).text == f"I am {small}"


async def test_a_model_that_can_not_be_served_costs_nobody_a_model(
    place: Site, client: Client
) -> None:
    kept = [model(place.harness) for _ in range(2)]
    for name in kept:
        assert (await client.chat(name)).text == f"I am {name}"
    absurd = f"mallory/{secrets.token_hex(4)}"
    config = json.dumps({"num_hidden_layers": 3000}).encode()
    weights = absurd.encode().ljust(140_000)
    place.harness.hub.add_repo(absurd, {"config.json": config, "model.safetensors": weights})
    assert (await client.chat(absurd)).code == "unsupported_model"
    assert all(on_disk(place, name) for name in kept)
    assert not on_disk(place, absurd)


async def test_a_model_in_use_stays_while_others_come_and_go(harness: Harness) -> None:
    environ = {"MAX_LOADED_MODELS": "2", "DISK_BUDGET": "350000B"}
    busy = model(harness)
    with harness.worker(**environ) as worker:
        async with calling(worker.url) as caller:
            await _ask_all(harness, worker, caller, busy)


async def _ask_all(harness: Harness, worker: Worker, caller: Caller, busy: str) -> None:
    assert (await caller.chat(busy)).status == 200

    async def keep_asking() -> None:
        while True:
            assert (await caller.chat(busy)).text == f"I am {busy}"

    asking = asyncio.create_task(keep_asking())
    for name in [model(harness) for _ in range(4)]:
        assert (await caller.chat(name)).text == f"I am {name}"
    assert not asking.done()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert downloads(harness, busy) == 1
    await eventually(lambda: "removed" in worker.log)
