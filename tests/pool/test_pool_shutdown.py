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
from tests.pool.harness import PoolHarness, pool_harness


@pytest.mark.parametrize("stage", ["fetching", "starting", "ready"])
async def test_a_shutdown_refuses_waiting_requests_and_leaves_no_process(stage: str) -> None:
    harness = PoolHarness()
    caller = harness.call(spec("a"))
    await settle()
    if stage != "fetching":
        harness.downloader.finish("a")
        await settle()
    if stage == "ready":
        harness.launcher.ready("a")
        await settle()
        await caller.end()
    await harness.pool.shut_down(10.0)
    await settle()
    assert isinstance(caller.error, EngineUnavailable) == (stage != "ready")
    late = harness.call(spec("b"))
    await settle()
    assert isinstance(late.error, EngineUnavailable)
    await harness.close()


async def test_a_shutdown_lets_a_stream_end(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack).instant()
    streaming = harness.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(harness.pool.shut_down(10.0))
    await settle()
    assert harness.state() is State.DRAINING
    await streaming.end()
    await leaving
    assert streaming.error is None


async def test_a_stream_that_outlasts_the_drain_deadline_is_cut_off() -> None:
    harness = PoolHarness().instant()
    harness.call(spec("a"))
    await settle()
    leaving = asyncio.create_task(harness.pool.shut_down(10.0))
    await settle()
    await harness.later(10.0)
    await leaving
    assert harness.launcher.engine("a").stopped_at_once
    await harness.close()


async def test_a_shutdown_stops_an_idle_engine_gracefully() -> None:
    harness = PoolHarness().instant()
    caller = harness.call(spec("a"))
    await settle()
    await caller.end()
    await harness.pool.shut_down(10.0)
    assert harness.launcher.engine("a").stopped_at_once is False
    await harness.close()


async def test_an_engine_that_can_not_be_killed_makes_the_worker_leave() -> None:
    harness = PoolHarness(max_loaded=1).instant()
    caller = harness.call(spec("a"))
    await settle()
    harness.launcher.engine("a").killable = False
    await caller.end()
    harness.call(spec("b"))
    await settle()
    assert harness.pool.at_fault.is_set()
    assert len(harness.launcher.starts) == 1
    await harness.pool.shut_down(1.0)


async def test_a_second_signal_is_not_undone_by_the_grace_of_the_shutdown() -> None:
    harness = PoolHarness().instant()
    harness.call(spec("a"))
    await settle()
    harness.pool.hurry()
    leaving = asyncio.create_task(harness.pool.shut_down(1000.0))
    await settle()
    await harness.later(0.0)
    await asyncio.wait_for(leaving, 60)
    await harness.close()
