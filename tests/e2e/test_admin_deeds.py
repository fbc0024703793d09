"""The operator's commands to a worker: load, unload, pin, drain."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.admin import Operator, operating
from tests.e2e.caller import Caller, calling
from tests.e2e.harness import ENDLESS, Harness
from tests.worker import Worker

CALLERS = secrets.token_hex(16)
KEY = secrets.token_hex(16)


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    for name in ("acme/one", "acme/two", "acme/three"):
        harness.model(name)
    harness.model("acme/endless", **ENDLESS)
    harness.model("acme/hidden", private=True)
    with harness.worker(
        ADMIN_API_KEY=KEY, MAX_LOADED_MODELS="2", MAX_CONCURRENCY="1"
    ) as worker:
        yield worker


@pytest.fixture
async def operator(worker: Worker) -> AsyncIterator[Operator]:
    async with operating(worker.url, KEY) as operator:
        yield operator


def starts(harness: Harness, model: str) -> int:
    return len(harness.journal.events("start", model))


async def test_a_model_is_loaded_without_a_request_and_unloaded(
    harness: Harness, caller: Caller, operator: Operator
) -> None:
    status, answer = await operator.post("models/acme/one/load?wait=1")
    assert (status, answer["engines"][0]["state"]) == (200, "ready")
    assert (await caller.chat("acme/one")).status == 200
    assert starts(harness, "acme/one") == 1
    status, answer = await operator.post("models/acme%2Fone/unload")
    assert (status, answer["engines"][0]["state"]) == (200, "stopping")
    await operator.until("acme/one", lambda one: not one)
    assert harness.journal.events("request", "acme/one")
    assert (await operator.post("models/acme/one/unload"))[0] == 404
    assert (await caller.chat("acme/one")).status == 200
    assert starts(harness, "acme/one") == 2


async def test_a_busy_model_answers_to_its_end_and_the_next_request_starts_it_anew(
    harness: Harness, caller: Caller, operator: Operator
) -> None:
    async with caller.stream("acme/endless") as stream:
        await stream.event()
        _, answer = await operator.post("models/acme/endless/unload")
        assert answer["engines"][0]["state"] == "draining"
        assert answer["engines"][0]["unloading"]
        await stream.event()  # it continues
        waiting = asyncio.create_task(first_event(caller, "acme/endless"))
        waits = await operator.until(
            "acme/endless", lambda one: one and one["waiting"]["requests"]
        )
        assert waits["in_flight"]["requests"] == 1
    assert await waiting
    assert starts(harness, "acme/endless") == 2


async def first_event(caller: Caller, model: str) -> str:
    async with caller.stream(model) as stream:
        return await stream.event()


async def test_a_pinned_model_stays_when_others_come(
    caller: Caller, operator: Operator
) -> None:
    assert (await caller.chat("acme/one")).status == 200
    status, answer = await operator.post("models/acme/one/pin")
    assert (status, answer["engines"][0]["pinned"]) == (200, True)
    for name in ("acme/two", "acme/three"):
        assert (await caller.chat(name)).status == 200
    assert (await operator.engine("acme/one"))["state"] == "ready"
    assert (await operator.post("models/acme/three/pin"))[0] == 200
    refused = await caller.chat("acme/two")
    assert refused.refusal == (503, "no_room")
    for name in ("one", "three"):
        assert (await operator.post(f"models/acme/{name}/unpin"))[0] == 200
    assert (await caller.chat("acme/two")).status == 200


async def test_a_load_obeys_the_hub(operator: Operator) -> None:
    for name in ("acme/hidden", "acme/missing"):
        status, answer = await operator.post(f"models/{name}/load")
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
    status, answer = await operator.post("models/nonsense/load")
    assert status == 400


async def test_to_strangers_a_loaded_private_model_and_a_missing_one_look_the_same(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    token = harness.hub.add_account("acme")
    assert (await caller.chat("acme/hidden", token=token)).status == 200
    for key in ("", "wrong", token):
        async with operating(worker.url, key) as stranger:
            answers = [
                await stranger.post(f"models/acme/{name}/{verb}")
                for name in ("hidden", "missing")
                for verb in ("unload", "pin", "load")
            ]
            answers.append(await stranger.post("drain"))
        assert {status for status, _ in answers} == {401}
        assert len({str(body) for _, body in answers}) == 1
    assert (await caller.chat("acme/hidden", token=token)).status == 200


async def test_a_drained_worker_answers_what_is_in_flight_and_leaves(
    harness: Harness, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    model = harness.model("acme/long", ends_with=str(end))
    with harness.new_worker(DRAIN_TIMEOUT="60") as worker:
        async with (
            operating(worker.url) as operator,
            calling(worker.url) as caller,
            caller.stream(model) as stream,
        ):
            await stream.event()
            assert await operator.post("drain") == (202, {"leaving": True})
            end.touch()
            assert await stream.text() == f"I am {model}"
        assert await asyncio.to_thread(worker.wait) == 0
        assert "operator: drain" in worker.log


async def test_where_callers_need_keys_and_the_operator_has_none_there_is_nothing(
    harness: Harness,
) -> None:
    with harness.worker(API_KEYS=CALLERS) as worker:
        async with operating(worker.url, CALLERS) as stranger:
            unknown = await stranger.get("/v1/unknown")
            for path in ("state", "events", "models/acme/one/unload"):
                assert await stranger.get(f"/admin/{path}") == unknown
