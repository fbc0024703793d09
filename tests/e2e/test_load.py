"""Many callers, and more models than fit. At the end, nothing is left over."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest

from tests.e2e.caller import PATIENCE, Caller, calling
from tests.e2e.harness import Harness
from tests.e2e.processes import engines, open_files
from tests.eventually import eventually
from tests.worker import Worker

CALLERS = 200
VISITS = 3
ROOM = 2  # engines
IDLE = 1 + 2 * ROOM  # processes: the router, and two per engine (with its guard)


@pytest.fixture(scope="module")
def models(harness: Harness) -> list[str]:
    return [harness.model(f"acme/model-{n}", tokens=9, interval=0.005) for n in range(6)]


async def whole(caller: Caller, model: str) -> str:
    answer = await caller.chat(model)
    if answer.status != 200:
        return answer.refusal[1]
    assert answer.text == 3 * f"I am {model}"
    return "answered"


async def streamed(caller: Caller, model: str) -> str:
    async with caller.stream(model) as stream:
        if stream.status != 200:
            return (await stream.refusal())[1]
        assert await stream.text() == 3 * f"I am {model}"
        return "answered"


async def left_in_mid_stream(caller: Caller, model: str, events: int) -> str:
    async with caller.stream(model) as stream:
        if stream.status != 200:
            return (await stream.refusal())[1]
        for _ in range(events):
            await stream.event()
        return "left"


async def visit(caller: Caller, models: list[str], dice: random.Random) -> list[str]:
    """Send a few requests, one after another. Leave three of ten in the middle of the
    stream."""
    outcomes = []
    for _ in range(VISITS):
        model = dice.choice(models)
        if dice.random() < 0.3:
            outcomes.append(await left_in_mid_stream(caller, model, dice.randint(1, 9)))
        else:
            outcomes.append(await dice.choice([whole, streamed])(caller, model))
    return outcomes


async def storm(worker: Worker, models: list[str]) -> tuple[Counter[str], int]:
    """Count how the requests ended, and the largest number of engines at one time."""
    async with calling(worker.url, 10 * PATIENCE) as caller:  # most wait for many others
        visits = [visit(caller, models, random.Random(n)) for n in range(CALLERS)]
        everything = asyncio.gather(*visits)
        most = 0
        while not everything.done():
            most = max(most, len(await asyncio.to_thread(engines, worker)))
            await asyncio.sleep(0.05)
        return Counter(itertools.chain(*await everything)), most


async def test_a_crowd_is_served_to_the_last_and_leaves_nothing_behind(
    harness: Harness, models: list[str]
) -> None:
    with harness.worker(
        MAX_LOADED_MODELS=str(ROOM), STANDBY_ENGINES="0", MAX_QUEUE="1000"
    ) as worker:
        hub = (harness.hub.endpoint, harness.hub.cdn)

        def files() -> int:
            return open_files(worker.pid, but_connections_to=hub)

        async with calling(worker.url) as caller:
            for model in models[:ROOM]:
                assert await whole(caller, model) == "answered"
        await eventually(lambda: len(worker.processes()) == IDLE)
        idle = files()

        outcomes, most_engines = await storm(worker, models)
        assert set(outcomes) == {"answered", "left"}
        assert outcomes.total() == CALLERS * VISITS
        assert most_engines == ROOM
        starts = sum(len(harness.journal.events("start", model)) for model in models)
        assert starts > len(models)  # some were evicted and started again
        await eventually(lambda: files() <= idle)  # connections stay open for some seconds
        await eventually(lambda: len(worker.processes()) == IDLE)


async def test_a_crowd_that_is_too_large_is_told_to_come_back(
    harness: Harness, models: list[str]
) -> None:
    with harness.worker(
        MAX_LOADED_MODELS=str(ROOM), STANDBY_ENGINES="0", MAX_QUEUE="20"
    ) as worker:
        outcomes, most_engines = await storm(worker, models)
        assert set(outcomes) == {"answered", "left", "queue_full"}
        assert outcomes["answered"] + outcomes["left"] >= 20
        assert most_engines <= ROOM
        async with calling(worker.url) as caller:
            assert await whole(caller, models[0]) == "answered"  # after the load
