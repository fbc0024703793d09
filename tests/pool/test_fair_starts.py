"""Starts, downloads and engines of one caller, while other callers wait."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from router.errors import EngineFailed
from router.models import EngineSpec
from router.scheduler.fairness import SHORTEST_TURN
from router.scheduler.lifecycle import State
from tests.pool.fakes import settle, spec
from tests.pool.harness import Caller, PoolHarness, pool_harness


@pytest.fixture
async def harness(stack: AsyncExitStack) -> PoolHarness:
    made = pool_harness(stack, max_loaded=3)
    made.downloader.instant = True
    return made


async def call(
    harness: PoolHarness, what: EngineSpec | str, caller: str | None, patience: float = 600.0
) -> Caller:
    model = spec(what) if isinstance(what, str) else what
    made = harness.call(model, caller=caller, patience=patience)
    await settle()
    return made


async def test_a_start_that_nobody_waits_for_gives_way_at_once(harness: PoolHarness) -> None:
    mine = await call(harness, "hangs", "mallory")
    await mine.leave()
    assert harness.state("hangs") is State.STARTING  # its caller may come back
    other = await call(harness, "a", "alice")
    assert harness.launcher.cancelled == ["org/hangs"]
    assert harness.state("hangs") is State.FETCHED
    harness.launcher.ready("a")
    await settle()
    assert other.lease
    assert len(harness.launcher.alive) == 1


async def test_a_start_gives_way_when_its_caller_leaves_while_others_wait(
    harness: PoolHarness,
) -> None:
    mine = await call(harness, "hangs", "mallory")
    await call(harness, "a", "alice")
    assert harness.state("a") is State.FETCHED
    await mine.leave()
    assert harness.state("a") is State.STARTING


async def test_a_start_gives_way_to_its_callers_own_next_model(harness: PoolHarness) -> None:
    mine = await call(harness, "a", "mallory")
    await mine.leave()
    await call(harness, "b", "mallory")
    assert harness.state("b") is State.STARTING


async def test_a_start_that_nobody_waits_for_ends_after_a_while(harness: PoolHarness) -> None:
    mine = await call(harness, "a", "mallory")
    await mine.leave()
    await harness.later(59)
    assert harness.state("a") is State.STARTING
    await harness.later(2)  # FETCH_LINGER
    assert harness.state("a") is State.FETCHED
    assert not harness.launcher.alive


async def test_a_caller_that_comes_back_finds_its_start_where_it_was(
    harness: PoolHarness,
) -> None:
    mine = await call(harness, "a", "mallory")
    await mine.leave()
    await harness.later(30)
    again = await call(harness, "a", "mallory")
    await harness.later(60)
    harness.launcher.ready("a")
    await settle()
    assert again.lease
    assert len(harness.launcher.starts) == 1


async def test_a_start_that_others_wait_for_as_well_goes_on_for_them(
    harness: PoolHarness,
) -> None:
    first = await call(harness, "a", "mallory")
    joined = await call(harness, "a", "bob")
    await call(harness, "b", "alice")
    await first.leave()
    harness.launcher.ready("a")
    await settle()
    assert joined.lease


async def test_the_start_of_a_pinned_model_goes_on_without_callers(
    harness: PoolHarness,
) -> None:
    pinned = spec("pinned", pinned=True, listed=True)
    mine = await call(harness, pinned, "mallory")
    await mine.leave()
    await call(harness, "a", "alice")
    await harness.later(100)
    assert harness.scheduler.slots[pinned.key].state is State.STARTING


async def test_a_contested_start_ends_when_its_time_is_over(harness: PoolHarness) -> None:
    mine = await call(harness, "hangs", "mallory")
    await harness.later(40)
    other = await call(harness, "a", "alice")
    await harness.later(SHORTEST_TURN - 41)
    assert harness.state("hangs") is State.STARTING
    await harness.later(2)
    assert isinstance(mine.error, EngineFailed)
    assert "CONTESTED_START_TIMEOUT" in mine.error.message
    assert harness.state("a") is State.STARTING
    assert other.waiting


async def test_a_start_that_becomes_contested_late_ends_at_once(harness: PoolHarness) -> None:
    mine = await call(harness, "hangs", "mallory")
    await harness.later(500)
    assert mine.waiting
    await call(harness, "a", "alice")
    assert harness.state("a") is State.STARTING


@pytest.mark.parametrize("listed", [True, False])
async def test_only_another_caller_contests_a_start_and_none_the_operators_model(
    harness: PoolHarness, *, listed: bool
) -> None:
    slow = spec("slow", listed=listed)
    mine = await call(harness, slow, "mallory")
    await call(harness, "b", "alice" if listed else "mallory")
    await harness.later(500)
    assert mine.waiting
    assert harness.scheduler.slots[slow.key].state is State.STARTING


async def test_a_large_model_has_the_time_to_read_its_weights(harness: PoolHarness) -> None:
    harness.downloader.instant = False
    mine = await call(harness, "large", "mallory")
    harness.downloader.tell("large", done=10**10, total=10**10)
    harness.downloader.finish("large")
    await settle()
    harness.downloader.instant = True
    await call(harness, "a", "alice")
    await harness.later(219)
    assert mine.waiting
    await harness.later(2)
    assert mine.error


async def test_the_models_of_a_caller_that_started_much_wait_for_those_of_others(
    harness: PoolHarness,
) -> None:
    first = await call(harness, "hangs-1", "mallory")
    for name in ("hangs-2", "hangs-3"):
        await call(harness, name, "mallory")
    await harness.later(100)
    others = [await call(harness, name, name) for name in ("a", "b")]
    await harness.later(21)
    assert first.error
    for name in ("a", "b"):  # although mallory's others are older
        assert harness.state(name) is State.STARTING
        harness.launcher.ready(name)
        await settle()
    assert all(other.lease for other in others)
    assert harness.state("hangs-2") is State.STARTING


async def test_a_caller_that_is_alone_has_all_its_models_started(harness: PoolHarness) -> None:
    harness.launcher.instant = True
    for number in range(20):
        made = await call(harness, f"m{number}", "alone")
        assert made.lease
        await made.end()


async def test_failed_and_abandoned_starts_are_charged_in_full(harness: PoolHarness) -> None:
    for end in ("abandoned", "failed"):
        mine = await call(harness, end, f"caller-{end}")
        await harness.later(100)
        if end == "failed":
            harness.launcher.fail(end)
            await settle()
        else:
            await mine.leave()
            await harness.later(60)
        assert harness.state(end) is not State.STARTING
    starts = harness.scheduler._state.shared.starts
    for end in ("abandoned", "failed"):
        assert starts.overdraft([f"caller-{end}"], harness.clock()) > 0


async def test_downloads_that_nobody_waits_for_go_when_others_need_their_places(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_downloads=2)
    mine = [await call(harness, name, "mallory") for name in ("a", "b")]
    await mine[0].leave()
    assert harness.state("a") is State.FETCHING
    await call(harness, "c", "alice")
    assert harness.downloader.swept == ["org/a"]
    assert [harness.state(name) for name in "abc"] == [State.COLD, *[State.FETCHING] * 2]


async def test_the_caller_with_the_most_engines_makes_room_for_another(
    harness: PoolHarness,
) -> None:
    harness.launcher.instant = True
    for name, caller in (("only", "bob"), ("first", "mallory"), ("second", "mallory")):
        made = await call(harness, name, caller)
        await made.end()
        harness.clock.advance(10)
    other = await call(harness, "a", "alice")
    assert other.lease
    assert harness.state("only") is State.READY
    assert harness.state("first") is State.FETCHED
    await other.end()
    again = await call(harness, "third", "mallory")  # takes none of the other callers' engines
    assert again.lease
    assert harness.state("only") is State.READY
    assert harness.state("a") is State.READY
