"""The operator's commands on a running worker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.e2e.caller import calling
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.incidents.scene import scene

MODELS_CONFIG = """
- model: acme/poet
  aliases: [rhymer]
"""


async def test_an_operator_loads_pins_unpins_and_unloads_a_model(harness: Harness) -> None:
    harness.model("acme/poet")
    with scene(harness, MODELS_CONFIG=MODELS_CONFIG) as stage:
        assert (await stage.run("load", "rhymer", "--wait")).startswith("load: rhymer is ready")
        assert "ready, pinned" in await stage.run("pin", "rhymer")
        assert " pinned " in await stage.run("ps")
        while "ready to roll" not in await stage.run("logs", "rhymer"):
            assert len(stage.transcript) < 20  # an engine may be ready before it says so
        assert '"state": "ready"' in await stage.run("ps", "--json")
        assert "pinned" not in await stage.run("unpin", "acme/poet")
        assert (await stage.run("unload", "rhymer")).startswith("unload: rhymer is ")
        await eventually(lambda: "acme/poet@" in stage.worker.log.rpartition("stopping ")[2])
        async with calling(stage.worker.url) as caller:
            assert (await caller.chat("rhymer")).status == 200  # the next start serves it


async def test_what_can_not_be_done_exits_with_1_and_says_why(harness: Harness) -> None:
    with scene(harness) as stage:
        refused = json.loads(await stage.run("unload", "acme/none", "--json", code=1))
        assert refused["error"]["code"] == "model_not_found"
        assert "model_not_found: " in stage.transcript[-1]


async def test_a_drained_worker_ends_and_top_ends_with_it(harness: Harness) -> None:
    with scene(harness) as stage:
        assert "takes no more requests" in await stage.run("drain")
        await eventually(lambda: "all engines are gone" in stage.worker.log)
        assert stage.worker.wait() == 0
        await stage.run("ps", code=2)
        assert "no worker answers at" in stage.transcript[-1]
        assert "A worker that drains takes no new connections" in stage.transcript[-1]


async def test_who_waits_for_a_drain_sees_what_is_left_until_the_end(
    harness: Harness, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    model = harness.model("acme/last-words", ends_with=str(end))
    with scene(harness, DRAIN_TIMEOUT="90") as stage:
        async with calling(stage.worker.url) as caller, caller.stream(model) as stream:
            await stream.event()
            drains = asyncio.create_task(stage.run("drain", "--wait"))
            await eventually(lambda: "leaving: " in stage.worker.log)
            end.touch()
            await stream.rest()
            told = await drains
        assert "1 in flight" in told
        assert told.splitlines()[-1] == "The worker has stopped its engines, and ends."
        assert stage.worker.wait() == 0
