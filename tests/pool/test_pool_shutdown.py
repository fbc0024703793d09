from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from router.errors import (
    EngineUnavailable,
)
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    settle,
    spec,
)
from tests.pool.harness import World, world_of


@pytest.mark.parametrize("stage", ["fetching", "starting", "ready"])
async def test_a_shutdown_refuses_waiting_requests_and_leaves_no_process(stage: str) -> None:
    world = World()
    caller = world.call(spec("a"))
    await settle()
    if stage != "fetching":
        world.downloader.finish("a")
        await settle()
    if stage == "ready":
        world.launcher.ready("a")
        await settle()
        await caller.end()
    await world.pool.shut_down(10.0)
    await settle()
    assert isinstance(caller.error, EngineUnavailable) == (stage != "ready")
    late = world.call(spec("b"))
    await settle()
    assert isinstance(late.error, EngineUnavailable)
    await world.close()


async def test_a_shutdown_lets_a_stream_end(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    streaming = world.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(world.pool.shut_down(10.0))
    await settle()
    assert world.state() is State.DRAINING
    await streaming.end()
    await leaving
    assert streaming.error is None


async def test_a_stream_that_outlasts_the_drain_deadline_is_cut_off() -> None:
    world = World().instant()
    world.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(world.pool.shut_down(10.0))
    await settle()
    await world.later(10.0)
    await leaving
    assert world.launcher.engine("a").stopped_at_once
    await world.close()


async def test_a_shutdown_stops_an_idle_engine_gracefully() -> None:
    world = World().instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    await world.pool.shut_down(10.0)
    assert world.launcher.engine("a").stopped_at_once is False
    await world.close()


async def test_an_engine_that_can_not_be_killed_makes_the_worker_leave() -> None:
    world = World(max_loaded=1).instant()
    caller = world.call(spec("a"))
    await settle()
    world.launcher.engine("a").killable = False
    await caller.end()
    world.call(spec("b"))
    await settle()
    assert world.pool.at_fault.is_set()
    assert len(world.launcher.starts) == 1
    await world.pool.shut_down(1.0)


async def test_a_second_signal_is_not_undone_by_the_grace_of_the_shutdown() -> None:
    world = World().instant()
    world.call(spec("a"))
    await settle()
    world.pool.hurry()
    leaving = asyncio.create_task(world.pool.shut_down(1000.0))
    await settle()
    await world.later(0.0)
    await asyncio.wait_for(leaving, 5)
    await world.close()
