"""A Hub answers every question with 503. Loaded models continue; new ones are not served."""

from __future__ import annotations

import asyncio

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.incidents.scene import scene

TITLE = "The Hub does not answer"
LOADED, NEW, OTHER = "acme/loaded", "acme/unknown", "acme/other"


async def play(harness: Harness) -> list[str]:
    harness.model(LOADED)
    harness.model(NEW)
    with scene(harness) as stage:
        async with calling(stage.worker.url) as caller:
            assert (await caller.chat(LOADED)).status == 200
            harness.hub.faults.add(".*", "503", times=None)
            try:
                refused = await caller.chat(NEW)
                assert refused.refusal == (503, "hub_unavailable")
                refused = await caller.chat(OTHER)
                assert refused.refusal == (503, "hub_unavailable")
                await stage.until_log("the Hub can't be asked: it answers 503")
                assert await stage.metric("router_hub_unavailable") == 1
                assert (await caller.chat(LOADED)).status == 200
                shown = await stage.run("ps")
                assert LOADED in shown
                assert NEW not in shown
                assert "answers 503" in await stage.run("doctor", code=1)
            finally:
                harness.hub.faults.clear()
            await stage.until_log(" hub_unavailable 503 ")
            asked = await stage.metric("router_hub_requests_total", outcome="hub_unavailable")
            assert asked >= 1
            async with asyncio.timeout(90):  # the Hub is back, and is soon asked again
                while (answer := await caller.chat(NEW)).status != 200:
                    assert answer.refusal == (503, "hub_unavailable")
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
            number = 0
            async with asyncio.timeout(90):
                while "the Hub can be asked again" not in stage.worker.log:
                    number += 1  # of a model that nobody has requested yet
                    assert (await caller.chat(f"acme/none-{number}")).status == 404
                    await asyncio.sleep(0.2)
            await stage.until_log("the Hub can be asked again")
            assert await stage.metric("router_hub_unavailable") == 0
            assert stage.worker.log.count("the Hub can") == 2
        return stage.transcript
