"""A defect in the pool never leaves one that looks alive and serves no request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from router.errors import InternalError
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from tests.pool.fakes import settle, spec
from tests.pool.harness import Caller, World

Provoke = Callable[[World, Caller], Awaitable[None]]


async def a_timer_tick(world: World, _: Caller) -> None:
    world.scheduler.raises_at = events.Tick
    await world.later(0.0)


async def an_arrival(world: World, _: Caller) -> None:
    world.scheduler.raises_at = events.Wanted
    world.call(spec("c"))
    await settle()


async def a_release(world: World, other: Caller) -> None:
    world.scheduler.raises_at = events.Released
    await other.end()
    assert other.error is None


async def an_executor_report(world: World, _: Caller) -> None:
    world.scheduler.raises_at = events.Crashed
    world.launcher.engine("a").die()
    await settle()


async def an_action(world: World, _: Caller) -> None:
    world.scheduler.adds = (actions.CancelFetch(spec("a").key, attempt=99),)
    world.pool.tick()
    await settle()


async def an_executor_task(world: World, _: Caller) -> None:
    world.launcher.engine("a").defect = ZeroDivisionError("a defect")
    world.pool.thawed()
    await settle()


async def a_broken_invariant(world: World, _: Caller) -> None:
    world.scheduler.slots[spec("a").key].claim *= 1000
    world.pool.tick()
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


async def broken(provoke: Provoke) -> tuple[World, Caller, Caller]:
    """A pool with a defect, a caller that was in flight then, and one that waited."""
    world = World(max_loaded=1).instant()
    streaming, other = world.call(spec("a")), world.call(spec("a"))
    await settle()
    waiting = world.call(spec("b"))
    await settle()
    assert waiting.waiting
    await provoke(world, other)
    await other.leave()
    return world, streaming, waiting


@pytest.mark.parametrize("defect", DEFECTS)
async def test_after_a_defect_every_request_is_told_and_the_worker_leaves(
    defect: Provoke, caplog: pytest.LogCaptureFixture
) -> None:
    world, streaming, waiting = await broken(defect)
    assert isinstance(waiting.error, InternalError)
    late = world.call(spec("a"))
    await settle()
    assert isinstance(late.error, InternalError)
    assert world.pool.at_fault.is_set()
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert record.exc_info
    await streaming.end()
    assert streaming.error is None
    await asyncio.wait_for(world.pool.shut_down(60.0), 5)
    assert not world.launcher.alive


@pytest.mark.parametrize("defect", DEFECTS)
async def test_after_a_defect_a_shutdown_lets_requests_in_flight_end(defect: Provoke) -> None:
    world, streaming, _ = await broken(defect)
    leaving = asyncio.create_task(world.pool.shut_down(60.0))
    await settle()
    assert not leaving.done()
    await streaming.end()
    await asyncio.wait_for(leaving, 5)
    assert not world.launcher.alive


async def test_after_a_defect_an_operator_in_a_hurry_need_not_wait_for_requests() -> None:
    world, streaming, _ = await broken(a_timer_tick)
    leaving = asyncio.create_task(world.pool.shut_down(60.0))
    await settle()
    world.pool.hurry()
    await asyncio.wait_for(leaving, 5)
    assert not world.launcher.alive
    await streaming.leave()


@pytest.mark.parametrize("stage", [State.FETCHING, State.STARTING, State.STOPPING])
async def test_after_a_defect_what_was_in_progress_ends_too(stage: State) -> None:
    world = World()
    caller = world.call(spec("a"))
    await settle()
    if stage is not State.FETCHING:
        world.downloader.finish("a")
        await settle()
    if stage is State.STOPPING:
        world.launcher.ready("a")
        await settle()
        world.scheduler.raises_at = events.Gone
        world.launcher.engine("a").die()
    else:
        world.scheduler.raises_at = events.Tick
        await world.later(0.0)
    await settle()
    assert world.state("a") is stage
    await caller.leave()
    await asyncio.wait_for(world.pool.shut_down(0.0), 5)
    assert not world.launcher.alive
    assert world.downloader.swept == (["org/a"] if stage is State.FETCHING else [])


async def test_a_defect_during_a_shutdown_does_not_keep_it_from_ending() -> None:
    world = World().instant()
    streaming = world.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(world.pool.shut_down(60.0))
    await settle()
    world.scheduler.raises_at = events.Released
    await streaming.end()
    await asyncio.wait_for(leaving, 5)
    assert not world.launcher.alive
