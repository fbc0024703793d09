"""The real SGLang dies while a caller's requests run. What do the others see?"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest

from tests import tiny_models
from tests.e2e_sglang.harness import Engine, Harness
from tests.e2e_sglang.target import Target
from tests.e2e_sglang.test_attack_by_values import PAST_THE_WORKER
from tests.e2e_sglang.watching import ENDLESS, streaming
from tests.eventually import eventually

pytestmark = pytest.mark.sglang

QUINCE = "tests/quince"
QUESTION = {"prompt": "Who are you?"}

End = Callable[[Engine], Awaitable[None]]


@pytest.fixture(scope="module")
def model(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that no other test uses, because its engine will be suspected."""
    files = tiny_models.make(tmp_path_factory.mktemp("models"), "quince")
    harness.hub.add_repo(QUINCE, files)
    return QUINCE


async def killed(engine: Engine) -> None:
    engine.kill()


async def sent_what_the_worker_refuses(engine: Engine, which: int = 0) -> None:
    """Send a value to the engine, without the worker, that would kill it."""
    path, body = PAST_THE_WORKER[which]
    with suppress(aiohttp.ClientError):  # or the engine says that it has died
        await Target(engine.url, QUINCE, engine.signed).post(path, body)


async def test_whose_requests_kill_the_engine_is_shut_out_and_the_others_are_answered(
    http: aiohttp.ClientSession, harness: Harness, model: str
) -> None:
    good, bad, slow = (
        {"model": model, "hf_token": harness.hub.add_account(name)} for name in "gbs"
    )

    async def is_well_served() -> None:
        async with http.post("/v1/completions", json={**QUESTION, **good}) as answer:
            assert (await answer.json())["choices"][0]["text"] == "I am quince."

    async def ends_under_the_bad_one(end: End) -> None:
        """Its stream reports the end. To the worker, its request may be the cause."""
        victim = harness.engine(model)
        async with streaming(http, "/v1/completions", {**ENDLESS, **bad}) as events:
            await anext(events)
            await end(victim)
            *_, error, done = [event async for event in events]
        assert json.loads(error)["error"]["code"] == "engine_failed"
        assert done == "[DONE]"
        await eventually(lambda: victim not in harness.engines(model))

    await is_well_served()
    await ends_under_the_bad_one(sent_what_the_worker_refuses)
    await is_well_served()  # by a new engine
    async with streaming(http, "/v1/completions", {**ENDLESS, **slow}) as events:
        await anext(events)
        await is_well_served()  # one caller at a time, but no long answer delays another
    await ends_under_the_bad_one(killed)
    async with http.post("/v1/completions", json={**QUESTION, **bad}) as answer:
        refusal = (await answer.json())["error"]
    assert (answer.status, refusal["code"]) == (429, "caller_quarantined")
    assert int(answer.headers["Retry-After"]) == refusal["retry_after"] > 500
    await is_well_served()
    last = harness.engine(model)
    await sent_what_the_worker_refuses(last, 1)
    await eventually(lambda: last not in harness.engines(model))
