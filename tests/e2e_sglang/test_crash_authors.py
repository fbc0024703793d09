"""The real SGLang, killed under a caller's requests: what the others see of it."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests import tiny_models
from tests.e2e_sglang.harness import Harness, Json
from tests.e2e_sglang.watching import ENDLESS, streaming

pytestmark = pytest.mark.sglang

QUINCE = "tests/quince"
QUESTION = {"prompt": "Who are you?"}


@pytest.fixture(scope="module")
def model(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that no other test uses: it ends up under suspicion."""
    files = tiny_models.make(tmp_path_factory.mktemp("models"), "quince")
    harness.hub.add_repo(QUINCE, files)
    return QUINCE


async def test_whose_requests_kill_the_engine_is_shut_out_and_the_others_are_answered(
    http: aiohttp.ClientSession, harness: Harness, model: str
) -> None:
    good, bad, slow = (
        {"model": model, "hf_token": harness.hub.add_account(name)} for name in "gbs"
    )

    async def is_well_served() -> None:
        async with http.post("/v1/completions", json={**QUESTION, **good}) as answer:
            assert (await answer.json())["choices"][0]["text"] == "I am quince."

    async def killed_under_the_bad_one() -> Json:
        """A kill stands for a request that no check knows to be one that kills."""
        async with streaming(http, "/v1/completions", {**ENDLESS, **bad}) as events:
            await anext(events)
            harness.engine(model).kill()
            *_, error, _ = [event async for event in events]
        told: Json = json.loads(error)["error"]
        return told

    await is_well_served()
    assert (await killed_under_the_bad_one())["code"] == "engine_failed"
    await is_well_served()
    async with streaming(http, "/v1/completions", {**ENDLESS, **slow}) as events:
        await anext(events)
        await is_well_served()  # one caller at a time, but no long answer holds up another
    assert (await killed_under_the_bad_one())["code"] == "engine_failed"
    async with http.post("/v1/completions", json={**QUESTION, **bad}) as answer:
        refusal = (await answer.json())["error"]
    assert (answer.status, refusal["code"]) == (429, "caller_quarantined")
    assert int(answer.headers["Retry-After"]) == refusal["retry_after"] > 500
    await is_well_served()
