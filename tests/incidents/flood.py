"""One caller sends far more than the worker can serve. Another one is still served."""

from __future__ import annotations

import asyncio
import secrets

from tests.e2e.admin import operating
from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.incidents.scene import scene

TITLE = "One caller floods the worker"
MODEL = "acme/busy"
PLACES = 8


async def play(harness: Harness) -> list[str]:
    harness.model(MODEL, tokens=20, interval=0.1)
    flooder, other = secrets.token_hex(16), secrets.token_hex(16)
    environ = {"MAX_QUEUE": str(PLACES), "MAX_CONCURRENCY": "2"}
    with scene(harness, API_KEYS=f"{flooder},{other}", **environ) as stage:
        async with (
            calling(stage.worker.url) as caller,
            operating(stage.worker.url, stage.key) as operator,
        ):
            assert (await caller.chat(MODEL, key=other)).status == 200
            flood = [asyncio.ensure_future(caller.chat(MODEL, key=flooder)) for _ in range(30)]
            await operator.until(
                MODEL, lambda one: one and one["waiting"]["requests"] == PLACES
            )
            shown = await stage.run("ps")
            engine = await operator.engine(MODEL)
            digest = engine["waiting"]["callers"][0]["caller"]
            assert f"in line are from caller {digest}" in shown
            assert (await caller.chat(MODEL, key=other)).status == 200  # it gets a place
            line = await stage.until_log(" queue_full 429 ")
            assert f"caller {digest}" in line
            for one in flood:
                one.cancel()
            await asyncio.wait(flood)
        assert await stage.metric("router_requests_total", outcome="queue_full") >= 20
        assert await stage.metric("router_queue_limit") == PLACES
        return stage.transcript
