from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from router.errors import (
    NoRoom,
)
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import World, world_of


async def test_engines_of_known_size_share_the_budget_by_bytes(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=0).instant()
    sizes = {"a": 50, "b": 30, "c": 20, "d": 40}
    for name, gib in sizes.items():
        world.clock.advance(1)
        caller = world.call(spec(name, memory=gib * GIB))
        await settle()
        assert caller.lease
        await caller.end()
    loaded = {name for name in sizes if world.state(name) is State.READY}
    assert loaded == {"b", "c", "d"}


async def test_no_engine_starts_while_other_processes_hold_the_memory(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    world.gauge.outsiders = 95 * GIB
    caller = world.call(spec("a", memory=10 * GIB))
    await settle()
    assert caller.waiting
    world.gauge.outsiders = 0
    await world.later(1.0)
    assert caller.lease


async def test_memory_that_does_not_come_back_is_written_off(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=0).instant()
    first = world.call(spec("a", memory=60 * GIB))
    await settle()
    world.gauge.taken["leaked"] = 50 * GIB
    await first.end()
    other = world.call(spec("b", memory=60 * GIB))
    await settle()
    assert world.state("a") is State.FETCHED
    assert isinstance(other.error, NoRoom)


async def test_a_cold_start_waits_until_the_evicted_engine_is_gone(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    first = world.call(spec("a"))
    await settle()
    await first.end()
    second = world.call(spec("b"))
    await settle()
    assert second.lease
    assert world.launcher.most_alive == 1


async def test_a_device_that_is_lost_does_not_keep_the_worker_from_leaving() -> None:
    world = World().instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()

    async def lost(target: int) -> int:
        raise OSError("GPU is lost")

    world.gauge.recovered = lost  # type: ignore[method-assign]
    await asyncio.wait_for(world.pool.shut_down(1.0), 5)
    assert world.pool.at_fault.is_set()


async def test_a_device_that_can_not_be_measured_makes_the_worker_leave() -> None:
    world = World(max_loaded=1).instant()

    def lost() -> int:
        raise OSError("GPU is lost")

    world.gauge.free = lost  # type: ignore[method-assign]
    world.call(spec("a"))
    await settle()
    assert world.pool.at_fault.is_set()
    await world.pool.shut_down(0.0)


async def test_memory_that_a_crash_frees_during_a_start_is_not_counted_as_missing(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0).instant()
    world.call(spec("a", memory=60 * GIB))
    await settle()
    world.launcher.instant = False
    second = world.call(spec("b", memory=30 * GIB))
    await settle()
    world.gauge.taken.pop(world.launcher.engine("a").number)  # freed before it is noticed
    world.launcher.engine("a").die()
    await settle()
    world.launcher.ready("b")
    await settle()
    assert second.lease
    assert world.scheduler.written_off == 0


async def test_a_smaller_model_starts_while_a_larger_one_waits_for_memory_of_other_processes(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0).instant()
    world.gauge.outsiders = 60 * GIB
    large = world.call(spec("a", memory=60 * GIB))
    await settle()
    small = world.call(spec("b", memory=20 * GIB))
    await settle()
    assert small.lease
    assert large.waiting
