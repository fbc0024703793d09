"""Sends the router's sleep requests to a real engine.

On a CPU it has no memory saver: it does everything except release the memory. `tests/gpu` tests
the rest.
"""

from __future__ import annotations

import aiohttp
import pytest

from engines.sleep import SleepSwitch
from router.models import Task
from router.pool.interfaces import SleepError
from tests.e2e_sglang.harness import APPLE, PEAR, Harness, Json

pytestmark = pytest.mark.sglang

ASKED: dict[str, tuple[Task, str, Json]] = {
    APPLE: (Task.GENERATE, "/v1/completions", {"prompt": "Who are you?", "temperature": 0}),
    PEAR: (Task.EMBED, "/v1/embeddings", {"input": "a text"}),
}


@pytest.mark.parametrize("model", ASKED)
async def test_the_real_engine_sleeps_and_wakes_and_answers_as_before(
    http: aiohttp.ClientSession, harness: Harness, model: str
) -> None:
    task, path, body = ASKED[model]

    async def answer() -> Json:
        async with http.post(path, json={"model": model, **body}) as response:
            assert response.status == 200
            said: Json = await response.json()
            return {key: said[key] for key in ("choices", "data") if key in said}

    before = await answer()
    engine = harness.engine(model)
    switch = SleepSwitch(
        engine.url, engine.signed, task, able=True, sessions=aiohttp.ClientSession
    )
    for _ in range(2):
        await switch.sleep()
        with pytest.raises(SleepError):
            await switch.sleep()
        await switch.wake()
    assert await answer() == before
