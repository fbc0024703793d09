"""A model whose engine never starts, despite many requests."""

from __future__ import annotations

import asyncio

from tests.e2e.admin import operating
from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.incidents.scene import scene

TITLE = "A model crashes again and again"
MODEL = "acme/looper"
WORDS = "RuntimeError: no kernel image is available for execution on the device"


async def play(harness: Harness) -> list[str]:
    harness.model(MODEL, die_at_start=1, last_words=WORDS)
    with scene(harness) as stage:
        async with (
            calling(stage.worker.url) as caller,
            operating(stage.worker.url, stage.key) as operator,
        ):
            assert (await caller.chat(MODEL)).refusal == (502, "engine_failed")
            failures, shown = 3, ""
            # `ps` may come after the cool-down. That of the next failure is twice as long.
            while f"{failures - 1} in a row, again in" not in shown:
                assert failures < 10
                while (await operator.engine(MODEL))["failures"] < failures:
                    refused = await caller.chat(MODEL)
                    assert refused.status in (502, 503)
                    await asyncio.sleep(float(refused.headers.get("Retry-After", 0)))
                failures, shown = failures + 1, await stage.run("ps")
        assert f"start: exit status 1: {WORDS}" in shown
        assert WORDS in await stage.until_log(" did not start: ")
        assert WORDS in await stage.run("logs", MODEL)
        assert await stage.metric("router_model_failures", model=MODEL) >= 3
        starts = await stage.metric("router_engine_starts_total", model=MODEL, outcome="failed")
        assert starts >= 3
        return stage.transcript
