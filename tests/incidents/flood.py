"""One caller sends far more than the worker can serve. Another one is still served."""

from __future__ import annotations

import asyncio
import secrets

from tests.e2e.admin import operating
from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.incidents.scene import scene

TITLE = "One caller floods the worker"
MODEL = "acme/busy"
PLACES = 8


async def play(harness: Harness) -> list[str]:
    end = harness.journal.path.with_name("end")  # while it is not there, no answer ends
    harness.model(MODEL, tokens=20, interval=0.1, ends_with=str(end))
    flooder, other = secrets.token_hex(16), secrets.token_hex(16)
    environ = {"MAX_QUEUE": str(PLACES), "MAX_CONCURRENCY": "2"}
    with scene(harness, API_KEYS=f"{flooder},{other}", **environ) as stage:
        async with (
            calling(stage.worker.url) as caller,
            operating(stage.worker.url, stage.key) as operator,
        ):
            end.touch()
            assert (await caller.chat(MODEL, key=other)).status == 200
            end.unlink()
            flood = [asyncio.ensure_future(caller.chat(MODEL, key=flooder)) for _ in range(30)]
            await operator.until(
                MODEL, lambda one: one and one["waiting"]["requests"] == PLACES
            )
            await eventually(lambda: sum(one.done() for one in flood) == 30 - PLACES - 2)
            shown = await stage.run("ps")
            engine = await operator.engine(MODEL)
            digest = engine["waiting"]["callers"][0]["caller"]
            assert f"in line are from caller {digest}" in shown
            served = asyncio.ensure_future(caller.chat(MODEL, key=other))
            end.touch()
            assert (await served).status == 200  # it gets a place
            line = await stage.until_log(" queue_full 429 ")
            assert f"caller {digest}" in line
            for one in flood:
                one.cancel()
            await asyncio.wait(flood)
        assert await stage.metric("router_requests_total", outcome="queue_full") >= 20
        assert await stage.metric("router_queue_limit") == PLACES
        return stage.transcript
