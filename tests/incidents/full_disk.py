"""A disk has no room for one more model, because all models on it are in use."""

from __future__ import annotations

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.incidents.scene import scene

TITLE = "The disk is full"
KEPT, NEW = "acme/kept", "acme/new"


async def play(harness: Harness) -> list[str]:
    harness.model(KEPT)
    harness.model(NEW)
    with scene(harness, DISK_BUDGET="3000B", MODEL_NAME=KEPT) as stage:
        async with calling(stage.worker.url) as caller:
            assert (await caller.chat(KEPT)).status == 200
            refused = await caller.chat(NEW)
            assert refused.refusal == (507, "insufficient_disk")
            assert (await caller.chat(KEPT)).status == 200
        shown = await stage.run("ps")
        assert "of 2.9 KiB used by models" in shown
        assert NEW in await stage.until_log(" was not downloaded: ")
        await stage.until_log(f" insufficient_disk 507 {NEW}")
        assert KEPT in await stage.run("cache", "ls")
        refusals = await stage.metric("router_requests_total", outcome="insufficient_disk")
        assert refusals == 1
        assert await stage.metric("router_disk_bytes", kind="budget") == 3000
        return stage.transcript
