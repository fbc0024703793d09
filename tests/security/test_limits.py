"""A caller over its limits gets an error, and the others notice nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.caller import Caller
from tests.e2e.harness import Harness
from tests.e2e_runpod.harness import QueueHarness, refusal, said
from tests.worker import Worker

LIMITS = {"MAX_LOADED_MODELS": "4", "MAX_STARTS_PER_CALLER": "1"}


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    for name in ("one", "two", "three"):
        harness.model(f"acme/{name}")
    with harness.worker(**LIMITS) as worker:
        yield worker


async def test_over_http(harness: Harness, caller: Caller) -> None:
    mine, other = harness.hub.add_account("mallory"), harness.hub.add_account("alice")
    assert (await caller.chat("acme/one", token=mine)).text == "I am acme/one"
    before = len(harness.hub.requests)
    refused = await caller.chat("acme/two", token=mine)
    assert refused.refusal == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert not [r for r in harness.hub.requests[before:] if r.path.startswith("/cdn/")]
    assert not harness.journal.events("start", "acme/two")
    assert (await caller.chat("acme/one", token=mine)).text == "I am acme/one"
    assert (await caller.chat("acme/two", token=other)).text == "I am acme/two"
    assert (await caller.chat("acme/two", token=mine)).text == "I am acme/two"
    assert (await caller.chat("acme/three")).text == "I am acme/three"  # without a token


async def test_over_the_queue(harness: QueueHarness) -> None:
    for name in ("four", "five"):
        harness.model(f"acme/{name}")
    mine, other = harness.hub.add_account("trudy"), harness.hub.add_account("bob")
    with harness.endpoint(**LIMITS) as endpoint:
        assert said(endpoint.chat("acme/four", hf_token=mine).wait()) == "I am acme/four"
        outcome = endpoint.chat("acme/five", hf_token=mine).wait()
        assert refusal(outcome) == "rate_limited"
        assert 0 < json.loads(outcome.error)["error"]["retry_after"] <= 60
        assert said(endpoint.chat("acme/five", hf_token=other).wait()) == "I am acme/five"
