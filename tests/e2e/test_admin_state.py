"""The operator's view of a worker's models: loaded, loading, waiting, crashed, evicted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.admin import Operator, operating
from tests.e2e.caller import Caller
from tests.e2e.harness import ENDLESS, Harness
from tests.worker import Worker

# SGLang's own phases, and one that contains several of them.
PHASES = {
    "load_weight": 1.5,
    "kv_cache_allocation": 0.5,
    "cuda_graph": {"prefill": 0.25, "decode": 2.0},
    "scheduler_e2e": 6.0,
}
MODELS_CONFIG = """
- model: acme/poet
  aliases: [rhymer]
"""


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model("acme/poet", phases=PHASES)
    harness.model("acme/endless", **ENDLESS)
    harness.model("acme/other")
    harness.model("acme/hidden", private=True)
    with harness.worker(
        MODELS_CONFIG=MODELS_CONFIG, MAX_LOADED_MODELS="1", STANDBY_ENGINES="0"
    ) as worker:
        yield worker


@pytest.fixture
async def operator(worker: Worker) -> AsyncIterator[Operator]:
    async with operating(worker.url) as operator:
        yield operator


async def test_a_loaded_model_shows_its_names_its_start_and_its_context(
    caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("rhymer")).status == 200
    state = await operator.state()
    (engine,) = state["engines"]
    assert (engine["model"], engine["names"], engine["listed"]) == (
        "acme/poet",
        ["rhymer"],
        True,
    )
    assert (engine["state"], engine["starts"], engine["failures"]) == ("ready", 1, 0)
    assert engine["id"] == f"acme/poet@{engine['commit']}"
    assert engine["last_start"]["stages"][0]["stage"] == "start"
    told = {"load_weight": 1.5, "kv_cache_allocation": 0.5, "cuda_graph": 2.25}
    assert engine["start_phases"] == told
    assert engine["claim_bytes"] == engine["held_bytes"] > 0
    assert engine["context_length"] > 0
    assert engine["evicted_next"] == 1
    assert state["now"] - 90 < engine["since"] <= state["now"]
    assert state["loaded"] == {"engines": 1, "limit": 1}
    assert state["worker"]["ready"]
    assert state["devices"][0]["held_bytes"] == engine["held_bytes"]
    assert state["devices"][0]["free_bytes"] > 0
    assert state["disk"]["used_bytes"] >= engine["files_bytes"] > 0
    assert [one["name"] for one in state["models"]] == ["rhymer"]


async def test_a_request_in_flight_and_one_that_waits_for_it_show_why(
    caller: Caller, operator: Operator
) -> None:
    async with caller.stream("acme/endless") as stream:
        await stream.event()
        busy = await operator.engine("acme/endless")
        assert (busy["state"], busy["in_flight"]["requests"]) == ("ready", 1)
        waiting = asyncio.create_task(caller.chat("acme/other"))
        waits = await operator.until(
            "acme/other", lambda one: one and one["waiting"]["reason"] == "room"
        )
        assert waits["waiting"]["requests"] == 1
        assert waits["waiting"]["leaving"] == [busy["id"]]
        assert waits["waiting"]["gives_up_at"] > 0
    assert (await waiting).status == 200
    assert (await operator.engine("acme/endless")) == {}


async def test_events_tell_of_an_eviction_and_of_a_start(
    harness: Harness, caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("acme/other")).status == 200
    async with operator.following() as events:
        name, first = await anext(events)
        assert name == "state"
        assert first["engines"][0]["model"] == "acme/other"
        asked = asyncio.create_task(caller.chat("acme/poet"))
        told = []
        async for name, content in events:
            if name == "journal":
                told.append((content["what"], content["id"].partition("@")[0]))
            if ("ready", "acme/poet") in told:
                break
    assert (await asked).status == 200
    assert [one for one in told if one[1] == "acme/other"] == [
        ("evicted", "acme/other"),
        ("gone", "acme/other"),
    ]
    assert [one for one in told if one[1] == "acme/poet"] == [
        ("starting", "acme/poet"),
        ("ready", "acme/poet"),
    ]


async def test_a_crash_shows_its_cause(
    harness: Harness, caller: Caller, operator: Operator
) -> None:
    words = "ValueError: no kernel for this GPU"
    model = harness.model("acme/broken", die_at_start=3, last_words=words)
    assert (await caller.chat(model)).status == 502
    engine = await operator.until(model, lambda one: one and one["state"] == "cold")
    assert (engine["failures"], engine["last_failure"]["kind"]) == (1, "start")
    assert words in engine["last_failure"]["text"]
    assert engine["last_failure"]["at"] > 0


async def test_a_private_model_is_shown_to_the_operator_and_to_no_stranger(
    harness: Harness, caller: Caller, operator: Operator
) -> None:
    token = harness.hub.add_account("acme")
    assert (await caller.chat("acme/hidden", token=token)).status == 200
    engine = await operator.engine("acme/hidden")
    assert (engine["access"], engine["listed"]) == ("private", False)
    assert token not in str(await operator.state())
    listed = await caller.get("/v1/models")
    assert "acme/hidden" not in listed.body.decode()


async def test_a_listener_sees_the_drain_to_its_end(harness: Harness) -> None:
    with harness.new_worker(MODEL_NAME="acme/poet", DRAIN_TIMEOUT="60") as worker:
        async with operating(worker.url) as operator:
            await operator.until("acme/poet", lambda one: one and one["state"] == "ready")
            async with operator.following() as events:
                await anext(events)
                await asyncio.to_thread(worker.send, signal.SIGTERM)
                last = [one async for one in events]
        assert [content["what"] for name, content in last if name == "journal"] == [
            "leaving",
            "shutdown",
            "gone",
        ]
        assert last[-1][1]["worker"]["leaving"]
        assert last[-1][1]["engines"] == []
        assert await asyncio.to_thread(worker.wait) == 0
