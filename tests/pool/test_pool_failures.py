from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from router.errors import (
    EngineFailed,
    EngineUnavailable,
)
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    settle,
    spec,
)
from tests.pool.harness import hold, world_of


async def test_a_failed_start_fails_the_waiting_requests_and_cools_down(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    for failures in (1, 2):
        caller = world.call(spec("a"))
        await settle()
        await world.later(1.0)
        world.launcher.fail("a")
        await settle()
        assert isinstance(caller.error, EngineFailed), failures
    refused = world.call(spec("a"))
    await settle()
    assert isinstance(refused.error, EngineUnavailable)
    assert refused.error.retry_after == pytest.approx(2.0)
    assert len(world.launcher.starts) == 2


async def test_a_short_cool_down_is_waited_out(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    world.call(spec("a"))
    await settle()
    world.launcher.fail("a")
    await settle()
    again = world.call(spec("a"))
    await settle()
    assert again.waiting
    assert len(world.launcher.starts) == 1
    await world.later(1.0)
    world.launcher.ready("a")
    await settle()
    assert again.lease


async def test_an_engine_out_of_memory_is_tried_smaller_once(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    world.downloader.instant = True
    caller = world.call(spec("a"))
    await settle()
    world.launcher.fail("a", out_of_memory=True)
    await settle()
    assert caller.waiting
    assert [allotment.smaller for _, allotment in world.launcher.starts] == [False, True]
    world.launcher.fail("a", out_of_memory=True)
    await settle()
    assert isinstance(caller.error, EngineFailed)


async def test_a_crash_is_noticed_at_once_and_the_next_request_gets_a_fresh_engine(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    victim = world.call(spec("a"))
    await settle()
    assert victim.lease
    world.launcher.engine("a").die()
    await settle()
    assert world.state() is State.FETCHED
    await victim.end()
    following = world.call(spec("a"))
    await world.later(1.0)
    assert following.lease
    assert following.lease.grant.generation != victim.lease.grant.generation


async def test_the_back_off_doubles_with_each_crash_until_a_whole_answer(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    waits = []
    for _ in range(4):
        caller = world.call(spec("a"))
        await settle()
        world.launcher.engine("a").die()
        await settle()
        slot = world.scheduler.slots[spec("a").key]
        waits.append(slot.retry_at - world.clock())
        await caller.leave()
        await world.later(waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0]
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    assert slot.failures == 0


async def test_requests_that_wait_for_an_engine_that_keeps_crashing_are_refused(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_concurrency=1).instant()
    for cool_down in (1.0, 2.0):
        world.call(spec("a"))
        await settle()
        waiting = world.call(spec("a"))
        await settle()
        world.launcher.engine("a").die()
        await settle()
        if cool_down == 1.0:
            assert waiting.waiting
            await waiting.leave()
            await world.later(cool_down)
    assert isinstance(waiting.error, EngineUnavailable)
    assert waiting.error.retry_after == pytest.approx(2.0)


async def test_a_broken_connection_to_a_dead_engine_counts_as_its_crash(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    caller = world.call(spec("a"))
    await settle()
    assert caller.lease
    await world.pool.suspect(caller.lease)
    assert world.state() is State.READY
    world.launcher.engine("a").healthy = False
    await world.pool.suspect(caller.lease)
    assert world.state() is State.STOPPING


async def test_a_silent_engine_is_probed_and_a_stalled_one_replaced(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, stall_timeout=120.0).instant()
    world.call(spec("a"))
    await settle()
    await world.later(121.0)
    assert world.state() is State.READY  # slow, but it answered the probe
    world.launcher.engine("a").healthy = False
    await world.later(121.0)
    assert world.state() is State.FETCHED


async def test_after_a_freeze_every_engine_is_probed(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack).instant()
    for name in ("a", "b"):
        caller = world.call(spec(name))
        await settle()
        await caller.end()
    world.launcher.engine("a").healthy = False
    world.pool.thawed()
    await settle()
    assert (world.state("a"), world.state("b")) == (State.FETCHED, State.READY)


async def test_an_idle_engine_is_not_probed(stack: AsyncExitStack) -> None:
    world = world_of(stack, stall_timeout=120.0).instant()
    caller = world.call(spec("a"))
    await settle()
    await caller.end()
    world.launcher.engine("a").healthy = False
    await world.later(1000.0)
    assert world.state() is State.READY


async def test_a_deadline_that_comes_just_after_a_pass_is_not_missed(
    stack: AsyncExitStack,
) -> None:
    """A tick comes a moment early: it sets the next timer."""
    world = world_of(stack)
    world.downloader.instant = True
    world.call(spec("a"))
    await settle()
    world.launcher.fail("a")
    await settle()
    again = world.call(spec("a"))
    await settle()
    slot = world.scheduler.slots[spec("a").key]
    world.clock.now = slot.retry_at - 1e-9
    world.pool.tick()
    world.clock.now = slot.retry_at
    await asyncio.sleep(0.01)  # the timer fires
    world.launcher.ready("a")
    await settle()
    assert again.lease


async def test_a_request_that_is_tried_again_keeps_its_place(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_loaded=1, max_concurrency=1).instant()
    first = world.call(spec("a"))
    await settle()
    second = world.call(spec("a"))
    await settle()
    assert first.lease
    deadline = world.clock() + 60
    retried = asyncio.create_task(hold(world.pool, deadline, first.lease.age))
    await settle()
    await first.end()
    assert second.waiting
    assert not retried.done()
    retried.cancel()
    await asyncio.wait({retried})
    await settle()
    assert second.lease


async def test_a_request_that_is_tried_again_is_admitted_to_a_full_queue(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_queue=1)
    world.call(spec("a"))
    await settle()
    retried = asyncio.create_task(hold(world.pool, world.clock() + 60, age=0))
    await settle()
    assert not retried.done()
    retried.cancel()
    await asyncio.wait({retried})
