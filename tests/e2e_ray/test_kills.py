"""Processes are killed under load. Every caller still gets a whole answer or an error. The
tests share one fleet, and the last test removes a node."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e_ray.fleet import RayFleet
from tests.e2e_ray.load import ENGINE, Load
from tests.eventually import eventually

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def models(harness: Harness) -> list[str]:
    return [harness.model(f"org/busy-{number}", **ENGINE) for number in range(3)]


@pytest.fixture(scope="module")
def fleet(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    options = {"min_replicas": 3, "max_replicas": 3}
    with RayFleet(tmp_path_factory.mktemp("fleet"), harness.hub, options=options) as fleet:
        yield fleet


async def test_a_replica_is_killed(fleet: RayFleet, models: list[str]) -> None:
    load = Load(fleet.urls, models, callers=8)
    async with load.running():
        await load.seen("whole", 20)
        replicas = fleet.replicas()
        for victim in replicas[:2]:
            victim.send_signal(signal.SIGKILL)
        await load.seen("whole", 40)
        await eventually(lambda: len(fleet.replicas()) == len(replicas))
    assert not load.wrong, load.outcomes
    assert not load.outcomes["broke"]  # the ingress reports the error in the answer
    print(load.outcomes)


async def test_the_engines_of_a_killed_replica_end(harness: Harness, fleet: RayFleet) -> None:
    model = harness.model("org/outlives", **ENDLESS)
    async with calling(fleet.urls[0]) as caller, caller.stream(model) as stream:
        await stream.event()
        engine = psutil.Process(harness.journal.engine(model))
        (victim,) = [one for one in fleet.replicas() if _is_below(engine, one)]
        victim.send_signal(signal.SIGKILL)
        *_, error, _ = await stream.rest()
        assert '"code":"engine_failed"' in error
    await eventually(lambda: not engine.is_running())


async def test_an_ingress_is_killed(
    harness: Harness, fleet: RayFleet, models: list[str]
) -> None:
    endless = harness.model("org/endless", **ENDLESS)
    load = Load(fleet.urls, models, callers=8)
    async with load.running(), calling(fleet.urls[0]) as caller:
        async with caller.stream(endless) as stream:
            await stream.event()
            await load.seen("whole", 20)
            fleet.ingress_at(0).send_signal(signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await stream.rest()
            await load.seen("whole", 20)  # from the other one
        # The endless answer has no caller left.
        await eventually(lambda: harness.journal.events("cancelled", endless))
        async with calling(fleet.urls[0]) as again:
            await until_up(again)
        await load.seen("whole", 20)
    assert not load.wrong, load.outcomes
    print(load.outcomes)


async def test_a_node_is_killed(fleet: RayFleet, models: list[str]) -> None:
    load = Load(fleet.urls, models, callers=8)
    async with load.running():
        await load.seen("whole", 20)
        os.kill(fleet.raylets[1], signal.SIGKILL)
        await load.seen("refused", 1)
        await load.seen("whole", 40)  # at the remaining node
        await eventually(lambda: len(fleet.replicas()) == 3)  # moved to it
    assert not load.wrong, load.outcomes
    print(load.outcomes)


async def until_up(caller: Caller) -> None:
    async with asyncio.timeout(120):
        while True:
            with suppress(aiohttp.ClientError):
                if (await caller.get("/health")).status == 200:
                    return
            await asyncio.sleep(0.2)


def _is_below(process: psutil.Process, other: psutil.Process) -> bool:
    return other.pid in {one.pid for one in process.parents()}
