"""A caller over its limits is told so, and the others notice nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.caller import Caller
from tests.e2e.harness import Scene
from tests.e2e_runpod.harness import Stage, refusal, said
from tests.worker import Worker

LIMITS = {"MAX_LOADED_MODELS": "4", "MAX_STARTS_PER_CALLER": "1"}


@pytest.fixture(scope="module")
def worker(scene: Scene) -> Iterator[Worker]:
    for name in ("one", "two", "three"):
        scene.model(f"acme/{name}")
    with scene.worker(**LIMITS) as worker:
        yield worker


async def test_over_http(scene: Scene, caller: Caller) -> None:
    mine, other = scene.hub.add_account("mallory"), scene.hub.add_account("alice")
    assert (await caller.chat("acme/one", token=mine)).text == "I am acme/one"
    before = len(scene.hub.requests)
    refused = await caller.chat("acme/two", token=mine)
    assert refused.refusal == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert not [r for r in scene.hub.requests[before:] if r.path.startswith("/cdn/")]
    assert not scene.journal.events("start", "acme/two")
    assert (await caller.chat("acme/one", token=mine)).text == "I am acme/one"
    assert (await caller.chat("acme/two", token=other)).text == "I am acme/two"
    assert (await caller.chat("acme/two", token=mine)).text == "I am acme/two"
    assert (await caller.chat("acme/three")).text == "I am acme/three"  # without a token


async def test_over_the_queue(stage: Stage) -> None:
    for name in ("one", "two"):
        stage.model(f"acme/{name}")
    mine, other = stage.hub.add_account("mallory"), stage.hub.add_account("alice")
    with stage.endpoint(**LIMITS) as endpoint:
        assert said(endpoint.chat("acme/one", hf_token=mine).wait()) == "I am acme/one"
        outcome = endpoint.chat("acme/two", hf_token=mine).wait()
        assert refusal(outcome) == "rate_limited"
        assert 0 < json.loads(outcome.error)["error"]["retry_after"] <= 60
        assert said(endpoint.chat("acme/two", hf_token=other).wait()) == "I am acme/two"
