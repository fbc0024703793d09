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
from router.scheduler.forecast import Download, Reason
from router.scheduler.lifecycle import State
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import pool_harness


async def test_the_least_recently_used_idle_engine_makes_room(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack).instant()
    for name in ("a", "b", "a"):
        harness.clock.advance(1)
        caller = harness.call(spec(name))
        await settle()
        await caller.end()
    harness.call(spec("c"))
    await settle()
    assert (harness.state("a"), harness.state("b")) == (State.READY, State.FETCHED)
    assert harness.launcher.most_alive == 2


async def test_an_engine_in_use_drains_for_a_waiting_request_and_is_never_cut_off(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1).instant()
    streaming = harness.call(spec("a"))
    await settle()
    waiting = harness.call(spec("b"))
    await settle()
    assert harness.state("a") is State.DRAINING
    late = harness.call(spec("a"))
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
    harness = pool_harness(stack, max_loaded=1).instant()
    harness.call(spec("a"))
    await settle()
    waiting = harness.call(spec("b"))
    await settle()
    late = harness.call(spec("a"))
    await settle()
    assert late.waiting
    await waiting.leave()
    assert harness.state("a") is State.READY
    assert late.lease


async def test_pinned_engines_are_never_evicted_and_other_models_get_no_room(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1).instant()
    pinned = harness.call(spec("a", pinned=True))
    await settle()
    await pinned.end()
    refused = harness.call(spec("b"))
    await settle()
    assert isinstance(refused.error, NoRoom)
    assert harness.downloader.calls == [("org/a", "")]
    assert harness.state("a") is State.READY


async def test_an_engine_that_is_used_often_makes_room_at_the_pace_of_swap_patience(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1, patience=15.0).instant()
    for _ in range(3):
        used = harness.call(spec("a"))
        await settle()
        await used.end()
        harness.clock.advance(5.0)
    other = harness.call(spec("b"))
    await settle()
    await harness.later(9.0)
    assert harness.state("a") is State.READY
    await harness.later(6.0)
    assert other.lease


async def test_an_idle_engine_expires_after_its_idle_ttl(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack).instant()
    caller = harness.call(spec("a", idle_ttl=30.0))
    await settle()
    await harness.later(31.0)
    assert harness.state("a") is State.READY
    await caller.end()
    await harness.later(29.0)
    assert harness.state("a") is State.READY
    await harness.later(1.0)
    assert harness.state("a") is State.FETCHED


async def test_steady_traffic_for_one_model_does_not_starve_another(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1).instant()
    current = harness.call(spec("a"))
    await settle()
    other = harness.call(spec("b"))
    for _ in range(5):  # always one in flight, as long as the engine accepts them
        following = harness.call(spec("a"))
        await settle()
        await current.end()
        current = following
    assert other.lease


async def test_the_queue_is_bounded(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, max_queue=3)
    callers = [harness.call(spec("a")) for _ in range(5)]
    await settle()
    assert [isinstance(c.error, QueueFull) for c in callers] == [False] * 3 + [True] * 2


async def test_an_engine_takes_max_concurrency_requests_and_the_rest_wait_their_turn(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_concurrency=2).instant()
    callers = [harness.call(spec("a")) for _ in range(4)]
    await settle()
    assert [bool(caller.lease) for caller in callers] == [True, True, False, False]
    await callers[1].end()
    assert [bool(caller.lease) for caller in callers] == [True, True, True, False]


async def test_a_request_that_waited_too_long_is_told_what_it_waited_for(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=1)
    loading = harness.call(spec("a"), patience=10.0)
    await settle()
    await harness.later(10.0)
    assert isinstance(loading.error, ModelLoading)
    assert loading.error.retry_after
    harness.downloader.finish("a")
    harness.downloader.instant = harness.launcher.instant = True
    harness.call(spec("b"))
    await settle()
    queued = harness.call(spec("a"), patience=10.0)
    await settle()
    await harness.later(10.0)
    assert isinstance(queued.error, DeadlineExceeded)
    assert queued.error.retry_after


async def test_a_waiting_request_hears_first_of_its_download_and_then_of_its_start(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    key = spec("a").key
    assert str(harness.pool.view.forecast(key)[0]) == "queued"
    harness.call(spec("a"))
    await settle()
    harness.clock.advance(10.0)
    harness.downloader.tell("a", 51, 101)
    fetching, download = harness.pool.view.forecast(key)
    assert (fetching.reason, download) == (Reason.FETCHING, Download(51, 101, 10.0, rate=5.0))
    harness.downloader.finish("a")
    await settle()
    starting, download = harness.pool.view.forecast(key)
    assert (starting.reason, download) == (Reason.STARTING, Download())
    assert fetching.seconds == pytest.approx(10.0 + (starting.seconds or 0.0))


@pytest.mark.parametrize("stage", ["fetching", "starting", "granted", "in flight"])
async def test_cancelling_one_request_does_not_cancel_the_work_of_others(
    stack: AsyncExitStack, stage: str
) -> None:
    harness = pool_harness(stack)
    first, second = harness.call(spec("a"), token="x"), harness.call(spec("a"), token="y")
    await settle()
    if stage != "fetching":
        harness.downloader.finish("a")
        await settle()
    if stage == "granted":
        harness.launcher.ready("a")
        while harness.state() is not State.READY:  # noqa: ASYNC110  the very next step
            await asyncio.sleep(0)
        assert first.lease is None
    if stage == "in flight":
        harness.launcher.ready("a")
        await settle()
        assert first.lease
    first.task.cancel()
    await asyncio.wait({first.task})
    harness.scheduler.validate()
    if stage == "fetching":
        harness.downloader.finish("a")
        await settle()
    if stage in ("fetching", "starting"):
        harness.launcher.ready("a")
    await settle()
    assert second.lease
    slot = harness.scheduler.slots[spec("a").key]
    assert len(slot.leases) == 1
    assert len(harness.launcher.starts) == 1


async def test_a_request_can_wait_in_intervals(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    with harness.pool.lease(spec("a"), None, deadline=harness.clock() + 60) as lease:
        assert not await lease.granted(within=0.001)
        harness.downloader.finish("a")
        await settle()
        harness.launcher.ready("a")
        assert await lease.granted(within=60.0)


async def test_a_callers_request_does_not_change_how_the_operators_model_runs(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_loaded=0)
    harness.downloader.instant = True
    listed = spec("a", memory=40 * GIB, pinned=True, listed=True)
    operators = harness.call(listed)
    await settle()
    stranger = harness.call(spec("a"))  # claims the whole budget
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert operators.lease
    assert isinstance(stranger.error, NoRoom)
    assert harness.pool.view.loaded() == [listed]


def test_timers_that_are_due_at_once_work_with_uvloop() -> None:
    async def two_in_a_hurry() -> None:
        async with AsyncExitStack() as stack:
            harness = pool_harness(stack)
            callers = [harness.call(spec("a"), patience=0.0001) for _ in range(2)]
            await settle()
            await harness.later(1.0)
            assert all(isinstance(caller.error, ModelLoading) for caller in callers)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(two_in_a_hurry())
