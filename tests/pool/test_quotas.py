from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import HubUnavailable, QueueFull, RateLimited, RouterError
from router.scheduler.fairness import RECENT
from router.scheduler.lifecycle import State
from router.scheduler.quotas import HOUR, MINUTE, Window
from tests.pool.fakes import GIB, settle, spec
from tests.pool.harness import Caller, PoolHarness, pool_harness

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
async def harness(stack: AsyncExitStack) -> PoolHarness:
    return pool_harness(
        stack,
        max_loaded=4,
        max_queue_per_caller=2,
        max_starts_per_caller=3,
        max_models_per_caller=2,
        max_download_per_caller=10,
    ).instant()


async def ask(harness: PoolHarness, name: str, caller: str | None) -> Caller:
    """Send a request, and wait until it is answered or refused."""
    made = harness.call(spec(name), caller=caller)
    await settle()
    await made.end()
    return made


def waits(error: RouterError | None) -> float:
    assert isinstance(error, RateLimited), error
    assert error.retry_after is not None
    return error.retry_after


async def test_a_callers_starts_per_minute_are_limited(harness: PoolHarness) -> None:
    for name in ("a", "b", "c"):
        assert (await ask(harness, name, "mallory")).error is None
        harness.clock.advance(10)
    refused = await ask(harness, "d", "mallory")
    assert waits(refused.error) == MINUTE - 30
    assert (await ask(harness, "c", "mallory")).error is None  # it is ready already
    assert (await ask(harness, "d", "alice")).error is None
    await harness.later(31)
    assert (await ask(harness, "e", "mallory")).error is None


async def test_the_operators_own_starts_are_not_limited(harness: PoolHarness) -> None:
    for name in "abcdefg":
        assert (await ask(harness, name, None)).error is None


async def test_a_caller_that_joins_a_start_is_not_charged_for_it(harness: PoolHarness) -> None:
    harness.downloader.instant = False
    first = harness.call(spec("shared"), caller="alice")
    await settle()
    joined = [harness.call(spec("shared"), caller="bob") for _ in range(2)]
    await settle()
    harness.downloader.finish("shared")
    harness.downloader.instant = True
    await settle()
    for caller in (first, *joined):
        assert caller.lease
        await caller.end()
    for name in ("x", "y", "z"):
        assert (await ask(harness, name, "bob")).error is None


async def test_a_caller_over_its_limit_of_models_yields_its_own_least_recently_used(
    harness: PoolHarness,
) -> None:
    await ask(harness, "others", "alice")
    for name in ("a", "b", "a"):
        harness.clock.advance(1)
        await ask(harness, name, "mallory")
    assert (await ask(harness, "c", "mallory")).error is None
    states = {name: harness.state(name) for name in ("others", "a", "b", "c")}
    assert states == {
        "others": State.READY,
        "a": State.READY,
        "b": State.FETCHED,
        "c": State.READY,
    }


async def test_on_a_full_worker_the_callers_own_engine_makes_room(
    stack: AsyncExitStack,
) -> None:
    """Although an engine that has long been unused would go first otherwise."""
    harness = pool_harness(stack, max_loaded=2, max_models_per_caller=1).instant()
    await ask(harness, "others", "alice")
    harness.clock.advance(RECENT)
    for name in ("b", "a", "b"):  # in the end, b is on disk already and needs room at once
        harness.clock.advance(1)
        assert (await ask(harness, name, "mallory")).error is None
    assert harness.state("others") is State.READY
    assert harness.state("a") is State.FETCHED


async def test_a_caller_whose_models_are_all_in_use_gets_no_other(harness: PoolHarness) -> None:
    for name in ("a", "b"):
        harness.call(spec(name), caller="mallory")
    await settle()
    assert waits((await ask(harness, "c", "mallory")).error) > 0
    assert harness.state("c") is State.COLD
    assert (await ask(harness, "c", "alice")).error is None


async def test_a_yielded_model_that_is_used_again_counts_against_the_limit(
    harness: PoolHarness,
) -> None:
    """Its end waits for a start, and meanwhile a caller requests it once more."""
    for name in ("a", "b"):
        harness.clock.advance(1)
        await ask(harness, name, "mallory")
    harness.launcher.instant = False
    harness.call(spec("others"), caller="alice")
    await settle()
    harness.call(spec("c"), caller="mallory")
    await settle()
    assert harness.state("a") is State.READY  # it has yielded, but not stopped yet
    assert (await ask(harness, "a", "mallory")).error is None  # so b yields instead
    for name in ("others", "c"):
        harness.launcher.ready(name)
        await settle()
    assert [harness.state(name) for name in "ab"] == [State.READY, State.FETCHED]


async def test_a_model_that_several_callers_use_counts_against_none_of_them(
    harness: PoolHarness,
) -> None:
    for name in ("a", "b"):
        await ask(harness, name, "mallory")
        await ask(harness, name, "alice")
    assert (await ask(harness, "c", "mallory")).error is None
    assert [harness.state(name) for name in "abc"] == [State.READY] * 3


async def test_a_caller_with_many_waiting_requests_gives_up_its_newest_for_another_caller(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_queue=4).instant()
    harness.launcher.instant = False
    mine = [harness.call(spec("a"), caller="mallory") for _ in range(4)]
    await settle()
    other = harness.call(spec("b"), caller="alice")
    await settle()
    assert other.waiting
    refused = [caller for caller in mine if not caller.waiting]
    assert refused == mine[-1:]
    assert isinstance(mine[-1].error, QueueFull)
    assert (await ask(harness, "a", "mallory")).error is not None
    harness.launcher.ready("a")
    await settle()
    assert all(caller.lease for caller in mine[:-1])


async def test_a_place_that_is_given_up_leaves_a_download_as_a_caller_that_left_does(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_queue=2, max_downloads=3)
    harness.call(spec("a"), caller="mallory")
    harness.call(spec("b"), caller="mallory")
    await settle()
    harness.call(spec("c"), caller="alice")
    await settle()
    assert harness.state("b") is State.FETCHING
    await harness.later(61)
    assert harness.downloader.swept == ["org/b"]


async def test_of_two_callers_the_one_with_fewer_requests_in_flight_is_next(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_concurrency=2).instant()
    slow = [harness.call(spec("a"), caller=name) for name in ("one", "two")]
    await settle()
    queue = [harness.call(spec("a"), caller="one") for _ in range(20)]
    third = harness.call(spec("a"), caller="three")
    await settle()
    assert third.waiting
    await slow[1].end()
    assert third.lease
    assert all(caller.waiting for caller in queue)
    await slow[0].end()
    assert queue[0].lease


async def test_a_callers_requests_in_flight_are_limited_for_each_engine(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_concurrency=4, max_concurrency_per_caller=2).instant()
    mine = [harness.call(spec("a"), caller="mallory") for _ in range(3)]
    await settle()
    assert [caller.waiting for caller in mine] == [False, False, True]
    assert (await ask(harness, "a", "alice")).error is None
    elsewhere = harness.call(spec("b"), caller="mallory")
    await settle()
    assert elsewhere.lease
    await mine[0].end()
    assert mine[2].lease


async def test_callers_that_share_an_engine_leave_places_free_for_each_other(
    stack: AsyncExitStack,
) -> None:
    harness = pool_harness(stack, max_concurrency=16).instant()
    assert (await ask(harness, "a", "alice")).error is None
    many = [harness.call(spec("a"), caller="mallory") for _ in range(20)]
    await settle()
    assert sum(not caller.waiting for caller in many) == 14
    again = await ask(harness, "a", "alice")
    assert again.error is None  # at once, although all others continue
    await many[0].end()
    assert sum(not caller.waiting for caller in many) == 15


async def test_a_caller_that_is_alone_has_all_places(stack: AsyncExitStack) -> None:
    harness = pool_harness(stack, max_concurrency=16).instant()
    assert (await ask(harness, "a", "alice")).error is None
    harness.clock.advance(RECENT + 1)
    many = [harness.call(spec("a"), caller="mallory") for _ in range(20)]
    await settle()
    assert sum(not caller.waiting for caller in many) == 14  # alice was here just before
    harness.clock.advance(RECENT)
    await many[0].end()
    assert sum(not caller.waiting for caller in many) == 1 + 16


async def test_a_callers_waiting_requests_are_limited(harness: PoolHarness) -> None:
    harness.launcher.instant = False
    for _ in range(2):
        harness.call(spec("a"), caller="mallory")
    await settle()
    refused = await ask(harness, "a", "mallory")
    assert waits(refused.error) > 0
    other = harness.call(spec("a"), caller="alice")
    await settle()
    harness.launcher.ready("a")
    await settle()
    assert other.lease
    late = harness.call(spec("a"), caller="mallory")
    await settle()
    assert late.lease  # no request waits for a ready engine


@pytest.mark.parametrize("end", ["done", "failed", "abandoned"])
async def test_bytes_are_charged_to_the_caller_whose_request_downloads_them(
    harness: PoolHarness, end: str
) -> None:
    harness.downloader.instant = False
    caller = harness.call(spec("a"), caller="mallory")
    await settle()
    harness.downloader.tell("a", done=3 + 10, total=40)  # 1 was there before
    if end == "done":
        harness.downloader.finish("a")
    elif end == "failed":
        harness.downloader.fail("a", HubUnavailable("down"))
    else:
        await caller.leave()
        await harness.later(61)  # FETCH_LINGER
        assert harness.downloader.swept
    await settle()
    refused = harness.call(spec("b"), caller="mallory")
    await settle()
    assert 0 < waits(refused.error) <= HOUR
    other = harness.call(spec("b"), caller="alice")
    await settle()
    assert other.waiting
    await harness.later(HOUR)
    later = harness.call(spec("c"), caller="mallory")
    await settle()
    assert later.waiting


async def test_a_long_download_is_charged_while_it_runs(harness: PoolHarness) -> None:
    harness.downloader.instant = False
    harness.call(spec("a"), caller="mallory")
    await settle()
    harness.clock.advance(11)
    harness.downloader.tell("a", done=20, total=GIB)
    assert waits((await ask(harness, "b", "mallory")).error) == HOUR
