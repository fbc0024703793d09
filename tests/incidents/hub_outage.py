"""A Hub that answers every question with 503: what is loaded goes on, what is new does not."""

from __future__ import annotations

import asyncio

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.incidents.scene import scene

TITLE = "The Hub does not answer"
LOADED, NEW = "acme/loaded", "acme/unknown"


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
            async with asyncio.timeout(60):  # it has come back, and is asked again soon
                while (answer := await caller.chat(NEW)).status != 200:
                    assert answer.refusal == (503, "hub_unavailable")
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
        return stage.transcript
