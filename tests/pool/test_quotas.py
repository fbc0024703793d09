from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import HubUnavailable, RateLimited, RouterError
from router.scheduler.lifecycle import State
from router.scheduler.quotas import HOUR, MINUTE, Window
from tests.pool.fakes import GIB, settle, spec
from tests.pool.harness import Caller, World, world_of

CHARGES = st.lists(
    st.tuples(st.floats(0.0, 40.0), st.sampled_from("ab"), st.integers(1, 5)), max_size=40
)


@given(CHARGES, st.integers(1, 20))
def test_a_window_opens_when_enough_of_its_charges_have_expired(
    charges: list[tuple[float, str, int]], limit: int
) -> None:
    window, now, made = Window(60.0), 1000.0, []
    for later, caller, amount in charges:
        now += later
        window.add(caller, amount, now)
        made.append((now, caller, amount))

    def total(at: float) -> int:
        return sum(n for then, caller, n in made if caller == "a" and then + 60.0 > at)

    wait = window.opens_in("a", limit, now)
    assert (wait == 0.0) == (total(now) < limit)
    assert total(now + wait + 1e-6) < limit
    if wait:
        assert total(now + wait - 1e-6) >= limit


def test_a_window_forgets_callers_without_recent_charges() -> None:
    window = Window(60.0)
    for number in range(1000):
        window.add(str(number), 1, float(number))
    assert len(window) <= 60


@pytest.fixture
async def world(stack: AsyncExitStack) -> World:
    return world_of(
        stack,
        max_loaded=4,
        max_queue_per_caller=2,
        max_starts_per_caller=3,
        max_models_per_caller=2,
        max_download_per_caller=10,
    ).instant()


async def ask(world: World, name: str, caller: str | None) -> Caller:
    """A request that has been answered, or refused."""
    made = world.call(spec(name), caller=caller)
    await settle()
    await made.end()
    return made


def waits(error: RouterError | None) -> float:
    assert isinstance(error, RateLimited), error
    assert error.retry_after is not None
    return error.retry_after


async def test_a_callers_starts_per_minute_are_limited(world: World) -> None:
    for name in ("a", "b", "c"):
        assert (await ask(world, name, "mallory")).error is None
        world.clock.advance(10)
    refused = await ask(world, "d", "mallory")
    assert waits(refused.error) == MINUTE - 30
    assert (await ask(world, "c", "mallory")).error is None  # it is up already
    assert (await ask(world, "d", "alice")).error is None
    await world.later(31)
    assert (await ask(world, "e", "mallory")).error is None


async def test_the_operators_own_starts_are_not_limited(world: World) -> None:
    for name in "abcdefg":
        assert (await ask(world, name, None)).error is None


async def test_a_caller_that_joins_a_start_is_not_charged_for_it(world: World) -> None:
    world.downloader.instant = False
    first = world.call(spec("shared"), caller="alice")
    await settle()
    joined = [world.call(spec("shared"), caller="bob") for _ in range(2)]
    await settle()
    world.downloader.finish("shared")
    world.downloader.instant = True
    await settle()
    for caller in (first, *joined):
        assert caller.lease
        await caller.end()
    for name in ("x", "y", "z"):
        assert (await ask(world, name, "bob")).error is None


async def test_a_caller_over_its_limit_of_models_yields_its_own_least_recently_used(
    world: World,
) -> None:
    await ask(world, "others", "alice")
    for name in ("a", "b", "a"):
        world.clock.advance(1)
        await ask(world, name, "mallory")
    assert (await ask(world, "c", "mallory")).error is None
    states = {name: world.state(name) for name in ("others", "a", "b", "c")}
    assert states == {
        "others": State.READY,
        "a": State.READY,
        "b": State.FETCHED,
        "c": State.READY,
    }


async def test_on_a_full_worker_the_callers_own_engine_makes_room(
    stack: AsyncExitStack,
) -> None:
    world = world_of(stack, max_loaded=2, max_models_per_caller=1).instant()
    await ask(world, "others", "alice")
    for name in ("b", "a", "b"):  # in the end b is on disk already: it needs room at once
        world.clock.advance(1)
        assert (await ask(world, name, "mallory")).error is None
    assert world.state("others") is State.READY
    assert world.state("a") is State.FETCHED


async def test_a_caller_whose_models_are_all_in_use_gets_no_other(world: World) -> None:
    for name in ("a", "b"):
        world.call(spec(name), caller="mallory")
    await settle()
    assert waits((await ask(world, "c", "mallory")).error) > 0
    assert world.state("c") is State.COLD
    assert (await ask(world, "c", "alice")).error is None


async def test_a_yielded_model_that_is_used_again_counts_against_the_limit(
    world: World,
) -> None:
    """Its end waits for a start, and meanwhile it is asked for once more."""
    for name in ("a", "b"):
        world.clock.advance(1)
        await ask(world, name, "mallory")
    world.launcher.instant = False
    world.call(spec("others"), caller="alice")
    await settle()
    world.call(spec("c"), caller="mallory")
    await settle()
    assert world.state("a") is State.READY  # it has yielded, and not stopped yet
    assert (await ask(world, "a", "mallory")).error is None  # so b yields instead
    for name in ("others", "c"):
        world.launcher.ready(name)
        await settle()
    assert [world.state(name) for name in "ab"] == [State.READY, State.FETCHED]


async def test_a_model_that_several_callers_use_counts_against_none_of_them(
    world: World,
) -> None:
    for name in ("a", "b"):
        await ask(world, name, "mallory")
        await ask(world, name, "alice")
    assert (await ask(world, "c", "mallory")).error is None
    assert [world.state(name) for name in "abc"] == [State.READY] * 3


async def test_a_callers_waiting_requests_are_limited(world: World) -> None:
    world.launcher.instant = False
    for _ in range(2):
        world.call(spec("a"), caller="mallory")
    await settle()
    refused = await ask(world, "a", "mallory")
    assert waits(refused.error) > 0
    other = world.call(spec("a"), caller="alice")
    await settle()
    world.launcher.ready("a")
    await settle()
    assert other.lease
    late = world.call(spec("a"), caller="mallory")
    await settle()
    assert late.lease  # no request waits for an engine that is ready


@pytest.mark.parametrize("end", ["done", "failed", "abandoned"])
async def test_bytes_are_charged_to_the_caller_whose_request_downloads_them(
    world: World, end: str
) -> None:
    world.downloader.instant = False
    caller = world.call(spec("a"), caller="mallory")
    await settle()
    world.downloader.tell("a", done=3 + 10, total=40)  # 1 was there
    if end == "done":
        world.downloader.finish("a")
    elif end == "failed":
        world.downloader.fail("a", HubUnavailable("down"))
    else:
        await caller.leave()
        await world.later(61)  # FETCH_LINGER
        assert world.downloader.swept
    await settle()
    refused = world.call(spec("b"), caller="mallory")
    await settle()
    assert 0 < waits(refused.error) <= HOUR
    other = world.call(spec("b"), caller="alice")
    await settle()
    assert other.waiting
    await world.later(HOUR)
    later = world.call(spec("c"), caller="mallory")
    await settle()
    assert later.waiting


async def test_a_long_download_is_charged_while_it_runs(world: World) -> None:
    world.downloader.instant = False
    world.call(spec("a"), caller="mallory")
    await settle()
    world.clock.advance(11)
    world.downloader.tell("a", done=20, total=GIB)
    assert waits((await ask(world, "b", "mallory")).error) == HOUR
