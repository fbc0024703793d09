"""A defect in the pool never leaves a pool that looks alive but serves no request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from router.errors import InternalError
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from tests.pool.fakes import settle, spec
from tests.pool.harness import Caller, PoolHarness

Provoke = Callable[[PoolHarness, Caller], Awaitable[None]]


async def a_timer_tick(harness: PoolHarness, _: Caller) -> None:
    harness.scheduler.raises_at = events.Tick
    await harness.later(0.0)


async def an_arrival(harness: PoolHarness, _: Caller) -> None:
    harness.scheduler.raises_at = events.Wanted
    harness.call(spec("c"))
    await settle()


async def a_release(harness: PoolHarness, other: Caller) -> None:
    harness.scheduler.raises_at = events.Released
    await other.end()
    assert other.error is None


async def an_executor_report(harness: PoolHarness, _: Caller) -> None:
    harness.scheduler.raises_at = events.Crashed
    harness.launcher.engine("a").die()
    await settle()


async def an_action(harness: PoolHarness, _: Caller) -> None:
    harness.scheduler.adds = (actions.CancelFetch(spec("a").key, attempt=99),)
    harness.pool.tick()
    await settle()


async def an_executor_task(harness: PoolHarness, _: Caller) -> None:
    harness.launcher.engine("a").defect = ZeroDivisionError("a defect")
    harness.pool.thawed()
    await settle()


async def a_broken_invariant(harness: PoolHarness, _: Caller) -> None:
    harness.scheduler.slots[spec("a").key].held *= 1000
    harness.pool.tick()
    await settle()


DEFECTS = [
    a_timer_tick,
    an_arrival,
    a_release,
    an_executor_report,
    an_action,
    an_executor_task,
    a_broken_invariant,
]


async def broken(provoke: Provoke) -> tuple[PoolHarness, Caller, Caller]:
    """A pool with a defect, a caller that was in flight at that moment, and one that waited."""
    harness = PoolHarness(max_loaded=1).instant()
    streaming, other = harness.call(spec("a")), harness.call(spec("a"))
    await settle()
    waiting = harness.call(spec("b"))
    await settle()
    assert waiting.waiting
    await provoke(harness, other)
    await other.leave()
    return harness, streaming, waiting


@pytest.mark.parametrize("defect", DEFECTS)
async def test_after_a_defect_every_request_is_told_and_the_worker_leaves(
    defect: Provoke, caplog: pytest.LogCaptureFixture
) -> None:
    harness, streaming, waiting = await broken(defect)
    assert isinstance(waiting.error, InternalError)
    late = harness.call(spec("a"))
    await settle()
    assert isinstance(late.error, InternalError)
    assert harness.pool.at_fault.is_set()
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert record.exc_info
    await streaming.end()
    assert streaming.error is None
    await asyncio.wait_for(harness.pool.shut_down(600.0), 60)
    assert not harness.launcher.alive


@pytest.mark.parametrize("defect", DEFECTS)
async def test_after_a_defect_a_shutdown_lets_requests_in_flight_end(defect: Provoke) -> None:
    harness, streaming, _ = await broken(defect)
    leaving = asyncio.create_task(harness.pool.shut_down(600.0))
    await settle()
    assert not leaving.done()
    await streaming.end()
    await asyncio.wait_for(leaving, 60)
    assert not harness.launcher.alive


async def test_after_a_defect_an_operator_in_a_hurry_need_not_wait_for_requests() -> None:
    harness, streaming, _ = await broken(a_timer_tick)
    leaving = asyncio.create_task(harness.pool.shut_down(600.0))
    await settle()
    harness.pool.hurry()
    await asyncio.wait_for(leaving, 60)
    assert not harness.launcher.alive
    await streaming.leave()


@pytest.mark.parametrize("stage", [State.FETCHING, State.STARTING, State.STOPPING])
async def test_after_a_defect_what_was_in_progress_ends_too(stage: State) -> None:
    harness = PoolHarness()
    caller = harness.call(spec("a"))
    await settle()
    if stage is not State.FETCHING:
        harness.downloader.finish("a")
        await settle()
    if stage is State.STOPPING:
        harness.launcher.ready("a")
        await settle()
        harness.scheduler.raises_at = events.Gone
        harness.launcher.engine("a").die()
    else:
        harness.scheduler.raises_at = events.Tick
        await harness.later(0.0)
    await settle()
    assert harness.state("a") is stage
    await caller.leave()
    await asyncio.wait_for(harness.pool.shut_down(0.0), 60)
    assert not harness.launcher.alive
    assert harness.downloader.swept == (["org/a"] if stage is State.FETCHING else [])


async def test_a_defect_during_a_shutdown_does_not_keep_it_from_ending() -> None:
    harness = PoolHarness().instant()
    streaming = harness.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(harness.pool.shut_down(600.0))
    await settle()
    harness.scheduler.raises_at = events.Released
    await streaming.end()
    await asyncio.wait_for(leaving, 60)
    assert not harness.launcher.alive
