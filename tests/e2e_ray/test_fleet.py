"""A fleet answers like a single worker: two nodes, two ingresses, two replicas."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from tests.e2e.caller import CHAT, Caller, chat
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e_ray.fleet import RayFleet
from tests.eventually import eventually


@pytest.fixture(scope="module")
def model(harness: Harness) -> str:
    return harness.model("org/model")


async def test_a_stream_arrives_whole(caller: Caller, other: Caller, model: str) -> None:
    for one in (caller, other):
        async with one.stream(model) as stream:
            assert await stream.text() == f"I am {model}"


async def test_a_request_keeps_its_id(fleet: RayFleet, caller: Caller, model: str) -> None:
    answer = await caller.post(CHAT, chat(model), {"X-Request-Id": "my-own-id"})
    assert answer.headers["X-Request-Id"] == "my-own-id"
    # Once from the ingress, and once from the replica.
    await eventually(lambda: fleet.printed.count("id my-own-id") == 2)


async def test_an_error_is_told_in_the_dialect_of_its_route(
    harness: Harness, caller: Caller, model: str
) -> None:
    body = {**chat("org/nothing"), "max_tokens": 5}
    assert (await caller.post(CHAT, body)).refusal == (404, "model_not_found")
    answer = await caller.post("/v1/messages", body)
    assert (answer.status, answer.json["type"]) == (404, "error")
    refused = harness.model("org/refuses", error=418)
    answer = await caller.chat(refused)
    assert answer.status == 418
    assert (await caller.post("/v1/embeddings", {"model": model, "input": "a"})).refusal == (
        400,
        "wrong_endpoint",
    )


async def test_an_engine_that_dies_in_a_stream_is_told_of_in_the_stream(
    harness: Harness, caller: Caller
) -> None:
    dies = harness.model("org/dies", die_after_bytes=900, tokens=50)
    async with caller.stream(dies) as stream:
        *_, error, done = await stream.rest()
    assert '"code":"engine_failed"' in error
    assert done == "[DONE]"


async def test_a_private_model_is_for_those_who_may_read_it(
    harness: Harness, caller: Caller, other: Caller
) -> None:
    owner, stranger = harness.hub.add_account("owner"), harness.hub.add_account("stranger")
    private = harness.model("owner/private", private=True)
    for one in (caller, other):
        assert (await one.chat(private, token=owner)).text == f"I am {private}"
        for token in (stranger, None):
            missing = await one.chat("owner/missing", token=token)
            refused = await one.chat(private, token=token)
            assert refused.refusal == missing.refusal
            listed = (await one.get("/v1/models", **_token(token))).json["data"]
            assert private not in {card["id"] for card in listed}
        # The ingress learns of it every second.
        while private not in await _loaded(one, owner):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_token_in_the_body_counts(harness: Harness, caller: Caller) -> None:
    owner = harness.hub.add_account("owner")
    private = harness.model("owner/by-body", private=True)
    assert (await caller.chat(private, hf_token=owner)).text == f"I am {private}"


async def test_a_caller_that_leaves_ends_its_request_at_the_engine(
    harness: Harness, caller: Caller
) -> None:
    endless = harness.model("org/endless", **ENDLESS)
    async with caller.stream(endless) as stream:
        await stream.event()
    await eventually(lambda: len(harness.journal.events("cancelled", endless)) == 1)


@pytest.mark.long
async def test_a_stream_that_pauses_loses_nothing(
    harness: Harness, caller: Caller, fleet: RayFleet
) -> None:
    """Meanwhile, the ingress and the replica send comments."""
    slow = harness.model("org/slow", answer="one two", interval=11.0)
    async with caller.stream(slow) as stream:
        assert await stream.text() == "one two"


async def test_an_answer_that_nobody_reads_does_not_wait_in_the_ingress(
    harness: Harness, caller: Caller, fleet: RayFleet
) -> None:
    said = " ".join(f"{number:04}" + "x" * 50_000 for number in range(1000))
    talks = harness.model("org/talks", answer=said, interval=0.001)
    async with caller.stream(talks) as unread, caller.stream(talks) as other:
        await unread.event()
        before = fleet.ingress_at(0).memory_info().rss
        assert (await other.text())[-9:] == said[-9:]
        assert fleet.ingress_at(0).memory_info().rss - before < len(said) // 2
        assert (await unread.text())[-9:] == said[-9:]  # the rest was kept elsewhere


async def test_a_large_body_arrives_whole(caller: Caller, model: str) -> None:
    body = io.BytesIO(json.dumps(chat(model, user="x" * 20_000_000)).encode())
    answer = await caller.send("POST", CHAT, body, {"Content-Type": "application/json"})
    assert answer.text == f"I am {model}"


async def test_many_at_once_get_each_their_own_answer(
    harness: Harness, caller: Caller, other: Caller
) -> None:
    models = [harness.model(f"org/many-{number}") for number in range(3)]
    asked = [*models * 20]
    answers = await asyncio.gather(
        *((caller, other)[n % 2].chat(name) for n, name in enumerate(asked))
    )
    assert [answer.text for answer in answers] == [f"I am {name}" for name in asked]


async def _loaded(caller: Caller, token: str) -> set[str]:
    listed = (await caller.get("/v1/models", **_token(token))).json["data"]
    return {card["id"] for card in listed if card["loaded"]}


def _token(token: str | None) -> dict[str, str]:
    return {} if token is None else {"X-HF-Token": token}
