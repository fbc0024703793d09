from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from router.errors import (
    NoRoom,
)
from router.models import MemoryPlan
from router.scheduler import memory
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import PoolHarness, pool_harness


async def test_engines_of_known_size_share_the_budget_by_bytes(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, max_loaded=0).instant()
    sizes = {"a": 50, "b": 30, "c": 20, "d": 40}
    for name, gib in sizes.items():
        harness.clock.advance(1)
        caller = harness.call(spec(name, memory=gib * GIB))
        await settle()
        assert caller.lease
        await caller.end()
    loaded = {name for name in sizes if harness.state(name) is State.READY}
    assert loaded == {"b", "c", "d"}


async def test_the_claim_of_an_estimate_becomes_what_the_engine_took(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=0)
    plan = MemoryPlan(weights=40 * GIB, token=0, overhead=GIB, context=4096)
    for name, took in (("a", 30 * GIB), ("b", 60 * GIB)):
        waiting = harness.call(spec(name))
        await settle()
        harness.downloader.finish(name, plan)
        await settle()
        slot = harness.scheduler.slots[spec(name).key]
        assert slot.held > 41 * GIB  # with a margin
        [loading] = harness.launcher.alive - {1} if name == "b" else harness.launcher.alive
        harness.gauge.taken[loading] = took
        harness.launcher.ready(name)
        await settle()
        assert waiting.lease
        assert slot.held == took + (memory.slack(plan) if took < plan.weights else 0)


async def test_no_engine_starts_while_other_processes_hold_the_memory(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    harness.gauge.outsiders = 95 * GIB
    caller = harness.call(spec("a", memory=10 * GIB))
    await settle()
    assert caller.waiting
    harness.gauge.outsiders = 0
    await harness.later(1.0)
    assert caller.lease


async def test_memory_that_does_not_come_back_is_written_off(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, max_loaded=0).instant()
    first = harness.call(spec("a", memory=60 * GIB))
    await settle()
    harness.gauge.taken["leaked"] = 50 * GIB
    await first.end()
    other = harness.call(spec("b", memory=60 * GIB))
    await settle()
    assert harness.state("a") is State.FETCHED
    assert isinstance(other.error, NoRoom)


async def test_a_cold_start_waits_until_the_evicted_engine_is_gone(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1).instant()
    first = harness.call(spec("a"))
    await settle()
    await first.end()
    second = harness.call(spec("b"))
    await settle()
    assert second.lease
    assert harness.launcher.most_alive == 1


async def test_a_device_that_is_lost_does_not_keep_the_worker_from_leaving() -> None:
    harness = PoolHarness().instant()
    caller = harness.call(spec("a"))
    await settle()
    await caller.end()

    async def lost(target: int) -> int:
        raise OSError("GPU is lost")

    harness.gauge.recovered = lost  # type: ignore[method-assign]
    await asyncio.wait_for(harness.pool.shut_down(1.0), 60)
    assert harness.pool.at_fault.is_set()


async def test_a_device_that_can_not_be_measured_makes_the_worker_leave() -> None:
    harness = PoolHarness(max_loaded=1).instant()

    def lost() -> int:
        raise OSError("GPU is lost")

    harness.gauge.free = lost  # type: ignore[method-assign]
    harness.call(spec("a"))
    await settle()
    assert harness.pool.at_fault.is_set()
    await harness.pool.shut_down(0.0)


async def test_memory_that_a_crash_frees_during_a_start_is_not_counted_as_missing(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=0).instant()
    harness.call(spec("a", memory=60 * GIB))
    await settle()
    harness.launcher.instant = False
    second = harness.call(spec("b", memory=30 * GIB))
    await settle()
    harness.gauge.taken.pop(harness.launcher.engine("a").number)  # freed before anyone notices
    harness.launcher.engine("a").die()
    await settle()
    harness.launcher.ready("b")
    await settle()
    assert second.lease
    assert harness.scheduler.written_off == 0


async def test_a_smaller_model_starts_while_a_larger_one_waits_for_memory_of_other_processes(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=0).instant()
    harness.gauge.outsiders = 60 * GIB
    large = harness.call(spec("a", memory=60 * GIB))
    await settle()
    small = harness.call(spec("b", memory=20 * GIB))
    await settle()
    assert small.lease
    assert large.waiting
