from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from router.errors import (
    EngineFailed,
    EngineUnavailable,
    UnsupportedModel,
)
from router.scheduler.lifecycle import State
from tests.eventually import eventually
from tests.pool.fakes import (
    GIB,
    settle,
    spec,
)
from tests.pool.harness import hold, pool_harness


async def test_a_failed_start_fails_the_waiting_requests_and_cools_down(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    for failures in (1, 2):
        caller = harness.call(spec("a"))
        await settle()
        await harness.later(1.0)
        harness.launcher.fail("a")
        await settle()
        assert isinstance(caller.error, EngineFailed), failures
    refused = harness.call(spec("a"))
    await settle()
    assert isinstance(refused.error, EngineUnavailable)
    assert refused.error.retry_after == pytest.approx(2.0)
    assert len(harness.launcher.starts) == 2


async def test_the_reason_of_a_failed_start_is_told_and_repeated(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    for _ in range(2):
        caller = harness.call(spec("a"))
        await settle()
        await harness.later(1.0)
        harness.launcher.fail("a", told="ValueError: too odd")
        await settle()
        assert "did not start: ValueError: too odd. Check" in str(caller.error)
    refused = harness.call(spec("a"))
    await settle()
    assert isinstance(refused.error, EngineUnavailable)
    assert "It did not start: ValueError: too odd." in refused.error.message


async def test_the_reason_of_a_start_says_nothing_about_a_later_crash(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a", told="ValueError: too odd")
    await settle()
    await harness.later(1.0)
    harness.call(spec("a"))
    await settle()
    harness.launcher.ready("a")
    await settle()
    harness.launcher.engine("a").die()
    await settle()
    refused = harness.call(spec("a"))
    await settle()
    assert isinstance(refused.error, EngineUnavailable)
    assert "too odd" not in refused.error.message


async def test_a_model_that_sglang_does_not_support_is_not_started_again_and_again(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    first = harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a", told="ValueError: no such thing", unsupported=True)
    await settle()
    await harness.later(250.0)
    second = harness.call(spec("a"))
    await settle()
    for refused in (first, second):
        assert isinstance(refused.error, UnsupportedModel)
        assert "ValueError: no such thing. Use another" in refused.error.message
    assert len(harness.launcher.starts) == 1
    await harness.later(50.0)
    harness.call(spec("a"))
    await settle()
    assert len(harness.launcher.starts) == 2


async def test_a_short_cool_down_is_waited_out(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a")
    await settle()
    again = harness.call(spec("a"))
    await settle()
    assert again.waiting
    assert len(harness.launcher.starts) == 1
    await harness.later(1.0)
    harness.launcher.ready("a")
    await settle()
    assert again.lease


async def test_an_engine_out_of_memory_is_tried_smaller_and_then_with_the_whole_device(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack)
    harness.downloader.instant = True
    caller = harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a", out_of_memory=True)
    await settle()
    assert caller.waiting
    harness.launcher.fail("a", out_of_memory=True)
    await settle()
    assert caller.waiting
    starts = [allotment for _, allotment in harness.launcher.starts]
    assert [one.smaller for one in starts] == [False, True, True]
    assert [one.claim for one in starts] == [50 * GIB, 50 * GIB, 100 * GIB]
    harness.launcher.fail("a", out_of_memory=True)
    await settle()
    assert isinstance(caller.error, EngineFailed)


async def test_a_crash_is_noticed_at_once_and_the_next_request_gets_a_fresh_engine(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    victim = harness.call(spec("a"))
    await settle()
    assert victim.lease
    harness.launcher.engine("a").die()
    await settle()
    assert harness.state() is State.FETCHED
    await victim.end()
    following = harness.call(spec("a"))
    await harness.later(1.0)
    assert following.lease
    assert following.lease.grant.generation != victim.lease.grant.generation


async def test_the_back_off_doubles_with_each_crash_until_a_whole_answer(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    waits = []
    for _ in range(4):
        caller = harness.call(spec("a"))
        await settle()
        harness.launcher.engine("a").die()
        await settle()
        slot = harness.scheduler.slots[spec("a").key]
        waits.append(slot.retry_at - harness.clock())
        await caller.leave()
        await harness.later(waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0]
    caller = harness.call(spec("a"))
    await settle()
    await caller.end()
    assert slot.failures == 0


async def test_requests_that_wait_for_an_engine_that_keeps_crashing_are_refused(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_concurrency=1).instant()
    for cool_down in (1.0, 2.0):
        harness.call(spec("a"))
        await settle()
        waiting = harness.call(spec("a"))
        await settle()
        harness.launcher.engine("a").die()
        await settle()
        if cool_down == 1.0:
            assert waiting.waiting
            await waiting.leave()
            await harness.later(cool_down)
    assert isinstance(waiting.error, EngineUnavailable)
    assert waiting.error.retry_after == pytest.approx(2.0)


async def test_a_broken_connection_to_a_dead_engine_counts_as_its_crash(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    caller = harness.call(spec("a"))
    await settle()
    assert caller.lease
    await harness.pool.suspect(caller.lease)
    assert harness.state() is State.READY
    harness.launcher.engine("a").healthy = False
    await harness.pool.suspect(caller.lease)
    assert harness.state() is State.STOPPING


async def test_a_caller_that_leaves_does_not_end_the_probe_of_its_dead_engine(
    stack: AsyncExitStack,
) -> None:
    """A stream with output every 10 s interrupts it; a probe may take 22 s."""
    harness = pool_harness(stack).instant()
    caller = harness.call(spec("a"))
    await settle()
    assert caller.lease
    engine = harness.launcher.engine("a")
    engine.healthy, engine.silent = False, asyncio.Event()
    suspecting = asyncio.create_task(harness.pool.suspect(caller.lease))
    await settle()
    suspecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await suspecting
    assert harness.state() is State.READY
    engine.silent.set()
    await settle()
    assert engine.number not in harness.launcher.alive


async def test_a_silent_engine_is_probed_and_a_stalled_one_replaced(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, stall_timeout=120.0).instant()
    harness.call(spec("a"))
    await settle()
    await harness.later(121.0)
    assert harness.state() is State.READY  # slow, but it answered the probe
    harness.launcher.engine("a").healthy = False
    await harness.later(121.0)
    assert harness.state() is State.FETCHED


async def test_after_a_freeze_every_engine_is_probed(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack).instant()
    for name in ("a", "b"):
        caller = harness.call(spec(name))
        await settle()
        await caller.end()
    harness.launcher.engine("a").healthy = False
    harness.pool.thawed()
    await settle()
    assert (harness.state("a"), harness.state("b")) == (State.FETCHED, State.READY)


async def test_an_idle_engine_is_not_probed(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, stall_timeout=120.0).instant()
    caller = harness.call(spec("a"))
    await settle()
    await caller.end()
    harness.launcher.engine("a").healthy = False
    await harness.later(1000.0)
    assert harness.state() is State.READY


async def test_a_deadline_that_comes_just_after_a_pass_is_not_missed(
    stack: AsyncExitStack,
) -> None:
    """A tick may come a moment early; it then sets the next timer."""
    harness = pool_harness(stack)
    harness.downloader.instant = True
    harness.call(spec("a"))
    await settle()
    harness.launcher.fail("a")
    await settle()
    again = harness.call(spec("a"))
    await settle()
    slot = harness.scheduler.slots[spec("a").key]
    harness.clock.now = slot.retry_at - 1e-9
    harness.pool.tick()
    harness.clock.now = slot.retry_at
    await eventually(lambda: harness.state() is State.STARTING)  # the timer fires
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert again.lease


async def test_a_request_that_is_tried_again_keeps_its_place(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, max_loaded=1, max_concurrency=1).instant()
    first = harness.call(spec("a"))
    await settle()
    second = harness.call(spec("a"))
    await settle()
    assert first.lease
    deadline = harness.clock() + 60
    retried = asyncio.create_task(hold(harness.pool, deadline, first.lease.age))
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
    harness = pool_harness(stack, max_queue=1)
    harness.call(spec("a"))
    await settle()
    retried = asyncio.create_task(hold(harness.pool, harness.clock() + 60, age=0))
    await settle()
    assert not retried.done()
    retried.cancel()
    await asyncio.wait({retried})
