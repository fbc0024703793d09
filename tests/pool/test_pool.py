from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
import uvloop

from router.errors import (
    DeadlineExceeded,
    ModelLoading,
    NoRoom,
    QueueFull,
)
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import world_of


async def test_the_least_recently_used_idle_engine_makes_room(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    for name in ("a", "b", "a"):
        world.clock.advance(1)
        caller = world.call(spec(name))
        await settle()
        await caller.end()
    world.call(spec("c"))
    await settle()
    assert (world.state("a"), world.state("b")) == (State.READY, State.FETCHED)
    assert world.launcher.most_alive == 2


async def test_an_engine_in_use_drains_for_a_waiting_request_and_is_never_cut_off(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    streaming = world.call(spec("a"))
    await settle()
    waiting = world.call(spec("b"))
    await settle()
    assert world.state("a") is State.DRAINING
    late = world.call(spec("a"))
    await settle()
    assert waiting.waiting
    assert late.waiting
    await streaming.end()
    assert waiting.lease
    assert late.waiting
    await waiting.end()
    assert late.lease


async def test_a_draining_engine_is_revived_when_the_waiting_request_leaves(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    world.call(spec("a"))
    await settle()
    waiting = world.call(spec("b"))
    await settle()
    late = world.call(spec("a"))
    await settle()
    assert late.waiting
    await waiting.leave()
    assert world.state("a") is State.READY
    assert late.lease


async def test_pinned_engines_are_never_evicted_and_other_models_get_no_room(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    pinned = world.call(spec("a", pinned=True))
    await settle()
    await pinned.end()
    refused = world.call(spec("b"))
    await settle()
    assert isinstance(refused.error, NoRoom)
    assert world.downloader.calls == [("org/a", "")]
    assert world.state("a") is State.READY


async def test_a_new_engine_that_has_answered_is_not_evicted_for_min_residency(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1, min_residency=15.0).instant()
    first = world.call(spec("a"))
    await settle()
    await first.end()
    second = world.call(spec("b"))
    await settle()
    await world.later(14.0)
    assert world.state("a") is State.READY
    await world.later(1.0)
    assert second.lease


async def test_an_idle_engine_expires_after_its_idle_ttl(stack: AsyncExitStack) -> None:
    world = world_of(stack).instant()
    caller = world.call(spec("a", idle_ttl=30.0))
    await settle()
    await world.later(31.0)
    assert world.state("a") is State.READY
    await caller.end()
    await world.later(29.0)
    assert world.state("a") is State.READY
    await world.later(1.0)
    assert world.state("a") is State.FETCHED


async def test_steady_traffic_for_one_model_does_not_starve_another(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1).instant()
    current = world.call(spec("a"))
    await settle()
    other = world.call(spec("b"))
    for _ in range(5):  # always one in flight, as long as the engine takes them
        following = world.call(spec("a"))
        await settle()
        await current.end()
        current = following
    assert other.lease


async def test_the_queue_is_bounded(stack: AsyncExitStack) -> None:
    world = world_of(stack, max_queue=3)
    callers = [world.call(spec("a")) for _ in range(5)]
    await settle()
    assert [isinstance(c.error, QueueFull) for c in callers] == [False] * 3 + [True] * 2


async def test_an_engine_takes_max_concurrency_requests_and_the_rest_wait_their_turn(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_concurrency=2).instant()
    callers = [world.call(spec("a")) for _ in range(4)]
    await settle()
    assert [bool(caller.lease) for caller in callers] == [True, True, False, False]
    await callers[1].end()
    assert [bool(caller.lease) for caller in callers] == [True, True, True, False]


async def test_a_request_that_waited_too_long_is_told_what_it_waited_for(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=1)
    loading = world.call(spec("a"), patience=10.0)
    await settle()
    await world.later(10.0)
    assert isinstance(loading.error, ModelLoading)
    assert loading.error.retry_after
    world.downloader.finish("a")
    world.downloader.instant = world.launcher.instant = True
    world.call(spec("b"))
    await settle()
    queued = world.call(spec("a"), patience=10.0)
    await settle()
    await world.later(10.0)
    assert isinstance(queued.error, DeadlineExceeded)


@pytest.mark.parametrize("stage", ["fetching", "starting", "granted", "in flight"])
async def test_cancelling_one_request_does_not_cancel_the_work_of_others(
    stack: AsyncExitStack, stage: str
) -> None:
    world = world_of(stack)
    first, second = world.call(spec("a"), token="x"), world.call(spec("a"), token="y")
    await settle()
    if stage != "fetching":
        world.downloader.finish("a")
        await settle()
    if stage == "granted":
        world.launcher.ready("a")
        while world.state() is not State.READY:  # noqa: ASYNC110  the very next step
            await asyncio.sleep(0)
        assert first.lease is None
    if stage == "in flight":
        world.launcher.ready("a")
        await settle()
        assert first.lease
    first.task.cancel()
    await asyncio.wait({first.task})
    world.scheduler.validate()
    if stage == "fetching":
        world.downloader.finish("a")
        await settle()
    if stage in ("fetching", "starting"):
        world.launcher.ready("a")
    await settle()
    assert second.lease
    slot = world.scheduler.slots[spec("a").key]
    assert len(slot.leases) == 1
    assert len(world.launcher.starts) == 1


async def test_a_request_can_wait_in_intervals(stack: AsyncExitStack) -> None:
    world = world_of(stack)
    with world.pool.lease(spec("a"), None, deadline=world.clock() + 60) as lease:
        assert not await lease.granted(within=0.001)
        world.downloader.finish("a")
        await settle()
        world.launcher.ready("a")
        assert await lease.granted(within=5.0)


async def test_a_callers_request_does_not_change_how_the_operators_model_runs(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=0)
    world.downloader.instant = True
    listed = spec("a", memory=40 * GIB, pinned=True, listed=True)
    operators = world.call(listed)
    await settle()
    stranger = world.call(spec("a"))  # claims the whole budget
    await settle()
    world.launcher.ready("a")
    await settle()
    assert operators.lease
    assert isinstance(stranger.error, NoRoom)
    assert world.pool.loaded() == [listed]


def test_timers_that_are_due_at_once_work_with_uvloop() -> None:
    async def two_in_a_hurry() -> None:
        async with AsyncExitStack() as stack:
            world = world_of(stack)
            callers = [world.call(spec("a"), patience=0.0001) for _ in range(2)]
            await settle()
            await world.later(1.0)
            assert all(isinstance(caller.error, ModelLoading) for caller in callers)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(two_in_a_hurry())
