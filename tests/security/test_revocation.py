"""Revoked rights: when they end, and what happens to a model that nobody may use anymore."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.errors import ModelNotFound
from router.hub.singleflight import ANSWER_TTL
from router.secrets import Token
from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.pool.fakes import FakeClock
from tests.security.admitting import admitting
from tests.security.harness import Client, Site, site

HIDDEN, OTHER, OPEN, HOUSE = "acme/Hidden", "acme/Other", "acme/Open", "acme/House"
NOT_FOUND, BAD_TOKEN = "model_not_found", "invalid_hf_token"

TTL = 2.0  # seconds


@pytest.fixture(scope="module")
def models(harness: QueueHarness) -> None:
    for name in (HIDDEN, OTHER, HOUSE):
        harness.model(name, private=True)
    harness.model(OPEN)


async def test_what_the_hub_takes_back_is_taken_back_within_a_minute(
    harness: QueueHarness, models: None
) -> None:
    clock = FakeClock()
    harness.hub.share(HIDDEN, "guest")
    guest = Token(harness.hub.add_account("guest"))
    async with admitting(harness.hub, clock) as admission:
        await admission.admit(HIDDEN, guest)
        harness.hub.withdraw(HIDDEN, "guest")
        clock.advance(ANSWER_TTL - 0.1)
        await admission.admit(HIDDEN, guest)
        clock.advance(0.1)
        with pytest.raises(ModelNotFound):
            await admission.admit(HIDDEN, guest)
    assert ANSWER_TTL <= 60


@pytest.fixture(scope="module", params=["http", "queue"])
def place(
    request: pytest.FixtureRequest, harness: QueueHarness, models: None
) -> Iterator[Site]:
    environ = {
        "MAX_LOADED_MODELS": "4",
        "MODEL_NAME": HOUSE,
        "HF_TOKEN": harness.hub.add_account("acme"),
        "PRIVATE_IDLE_TTL": str(TTL),
        "REMOVE_PRIVATE_FILES": "true",
    }
    with site(harness, request.param, **environ) as place:
        yield place


@pytest.fixture
async def client(place: Site) -> AsyncIterator[Client]:
    async with place.client() as client:
        yield client


async def test_a_token_that_is_refused_once_is_refused_for_all_that_it_was_let_use(
    place: Site, client: Client
) -> None:
    token = place.harness.hub.add_account("acme")
    assert (await client.chat(HIDDEN, token)).text == f"I am {HIDDEN}"
    place.harness.hub.expire(token)
    assert (await client.chat(OTHER, token)).code == BAD_TOKEN  # the Hub is asked first
    assert (await client.chat(HIDDEN, token)).code == BAD_TOKEN


async def test_who_was_refused_by_one_name_is_not_let_in_by_another(
    place: Site, client: Client
) -> None:
    hub = place.harness.hub
    hub.share(HIDDEN, "guest")
    guest = hub.add_account("guest")
    assert (await client.chat(HIDDEN, guest)).text == f"I am {HIDDEN}"
    hub.withdraw(HIDDEN, "guest")
    for name in (f"{HIDDEN}@main", HIDDEN):
        assert (await client.chat(name, guest)).code == NOT_FOUND


def files(place: Site, model: str) -> list[Path]:
    """The files of a model on the worker's disk, which may change meanwhile."""
    found = [
        Path(top, name) for top, _, names in os.walk(place.worker.directory) for name in names
    ]
    mine = [path for path in found if f"models--{model.replace('/', '--')}" in path.parts]
    return [path for path in mine if "router-leases" not in path.parts]


def stops(place: Site) -> list[str]:
    """The lines about engines that were stopped."""
    ahead = "others are wanted more"  # of a process that never became an engine
    return [line for line in place.worker.lines if "stopping" in line and ahead not in line]


async def test_a_private_model_that_nobody_asks_for_leaves_the_gpu_and_the_disk(
    place: Site, client: Client
) -> None:
    owner = place.harness.hub.add_account("acme")
    for model in (HIDDEN, OPEN):
        assert (await client.chat(model, owner)).text == f"I am {model}"
    assert (await client.chat(None)).text == f"I am {HOUSE}"
    await eventually(lambda: not files(place, HIDDEN))
    await eventually(lambda: stops(place))
    stopped = stops(place)
    assert all(f"{HIDDEN}@" in line and "expired" in line for line in stopped)
    assert files(place, OPEN)
    assert files(place, HOUSE)

    assert (await client.chat(HIDDEN, owner)).text == f"I am {HIDDEN}"
