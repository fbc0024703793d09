"""Prestarted processes, and the files that they need."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import HubUnavailable, ModelTooLarge
from router.models import MemoryPlan
from router.pool.interfaces import Snapshot
from router.scheduler.lifecycle import State
from tests.pool.fakes import GIB, settle, spec
from tests.pool.harness import PoolHarness, pool_harness

PLAN = MemoryPlan(15 * GIB, token=1 << 17, overhead=2 * GIB, context=8192)
# Before the download, the files' sizes are known, but not the part that is headers.
EARLY = replace(PLAN, weights=PLAN.weights + (1 << 20))


def described(harness: PoolHarness, plan: MemoryPlan = EARLY) -> None:
    harness.downloader.tell("a", 1, 4, Snapshot(Path("/snapshots/a"), plan))


@pytest.mark.parametrize("memory", [None, 20 * GIB])
async def test_a_process_starts_during_the_download_and_then_goes_on(
    stack: AsyncExitStack, memory: int | None
) -> None:
    harness = pool_harness(stack, standby=1)
    caller = harness.call(spec("a", memory=memory))
    await settle()
    assert not harness.launcher.starts
    described(harness)
    await settle()
    assert len(harness.launcher.starts) == 1
    harness.launcher.at_gate("a")
    await settle()
    assert harness.state() is State.FETCHING
    harness.downloader.finish("a", PLAN)
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert caller.lease
    assert len(harness.launcher.starts) == 1


async def test_a_process_ends_when_its_download_fails(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, standby=1)
    caller = harness.call(spec("a", memory=20 * GIB))
    await settle()
    described(harness)
    await settle()
    harness.downloader.fail("a", HubUnavailable("down"))
    await settle()
    assert isinstance(caller.error, HubUnavailable)
    assert harness.launcher.cancelled == ["org/a"]
    assert not harness.launcher.alive


async def test_the_weights_of_a_model_that_never_fits_are_not_downloaded(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, standby=1)
    caller = harness.call(spec("a"))
    await settle()
    described(harness, replace(PLAN, weights=101 * GIB))
    await settle()
    assert isinstance(caller.error, ModelTooLarge)
    assert harness.downloader.swept == ["org/a"]
    assert not harness.launcher.starts


async def test_files_that_only_a_spare_process_needs_may_be_removed(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, standby=1, max_loaded=1).instant()
    often, once = spec("often"), spec("once")
    for _ in range(2):
        caller = harness.call(often)
        await settle()
        await caller.end()
    harness.call(once)
    await settle()
    assert harness.state("often") is State.FETCHED
    assert "org/often" in harness.launcher.waiting
    assert ("org/often", often.model.commit) not in harness.pool.view.in_use()
    assert harness.pool.forget_snapshot("org/often", often.model.commit)
    await settle()
    assert "org/often" not in harness.launcher.waiting
    assert harness.state("often") is State.COLD
