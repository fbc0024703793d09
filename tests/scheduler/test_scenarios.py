"""An engine's life over several events: turns, sleep, whole devices, failures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.models import EngineSpec
from router.scheduler import actions, events
from router.scheduler.decisions import ALONE_FOR
from router.scheduler.fairness import ALLOWANCE
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.memory import Shrink
from router.scheduler.state import SHRUNK_FOR, TURN_KEPT
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import Driver

A, B, C = (replace(spec(name), memory=None) for name in "abc")
LIMITS = Limits(budget=12 * GIB, patience=0.0)
SLEEPING = replace(LIMITS, budget=6 * GIB, sleep_memory=8 * GIB)
ONE_SLOT = replace(LIMITS, max_loaded=1)


def started(driver: Driver) -> list[EngineSpec]:
    return [action.spec for action in driver.said(actions.Start)]


# --- turns -----------------------------------------------------------------------------


@pytest.mark.parametrize(("away", "first"), [(TURN_KEPT / 2, B), (TURN_KEPT + 1, C)])
def test_a_turn_outlives_its_waiters_for_ten_minutes(away: float, first: EngineSpec) -> None:
    driver = Driver(ONE_SLOT)
    held = driver.want(A)
    driver.ready(A)
    driver.want(B, patience=1.0)
    driver.want(C)
    driver.wait(2.0)
    assert not driver.life(B).queue
    driver.wait(away)
    driver.want(B)
    driver.release(held)
    driver.gone(A)
    assert started(driver)[-1] is first


def test_a_turn_ends_when_the_engine_is_up() -> None:
    driver = Driver(ONE_SLOT)
    driver.want(A)
    assert driver.life(A).turn is not None
    driver.ready(A)
    assert driver.life(A).turn is None


def test_an_engine_with_one_place_takes_its_callers_in_turn() -> None:
    driver = Driver(replace(LIMITS, max_concurrency=1))
    flood = [driver.want(A, caller="flood") for _ in range(5)]
    driver.ready(A)
    late = [driver.want(A, caller=name) for name in ("b", "c")]
    order = []
    for _ in range(6):
        [served] = driver.life(A).leases
        order.append(served)
        driver.release(served)
    assert order == [flood[0], *late, *flood[1:4]]


# --- prestarted processes ------------------------------------------------------------------


@pytest.mark.parametrize("stands", [True, False])
def test_a_process_that_was_started_for_a_caller_that_left_counts_as_a_start_of_it(
    *, stands: bool
) -> None:
    """Only until it reaches its gate, where it costs nothing more."""
    driver = Driver(replace(ONE_SLOT, standby=1))
    driver.want(A)
    driver.ready(A)  # stays in use
    driver.tell(events.Left(driver.want(B, caller="mallory")))
    standby = driver.life(B).standby
    assert standby is not None  # its caller may come back
    driver.now += ALLOWANCE + 10.0
    if stands:
        driver.tell(events.Standing(B.key, standby.generation))
    driver.now += 20.0
    driver.want(C, caller="alice")  # her model is next in line
    starts = driver.scheduler._state.shared.starts
    assert starts.overdraft(["mallory"], driver.now) == (10.0 if stands else 30.0)
    assert starts.overdraft(["alice"], driver.now) == 0.0


# --- a single model ------------------------------------------------------------------------


def test_a_model_that_is_alone_gets_the_whole_device_and_less_once_another_comes() -> None:
    driver = Driver(replace(LIMITS, whole_device=True, sleep_memory=40 * GIB))
    driver.serve(A)
    (start,) = driver.said(actions.Start)
    assert (start.allotment.claim, start.allotment.whole) == (12 * GIB, True)
    assert start.allotment.tokens is None
    assert not start.allotment.sleeps  # nobody would gain
    driver.want(B)
    driver.gone(A)
    driver.want(A)
    driver.ready(B)
    claims = [action.allotment.claim for action in driver.said(actions.Start)]
    assert len(claims) == 2
    assert sum(claims) <= 12 * GIB  # together


@pytest.mark.parametrize(("quiet", "whole"), [(ALONE_FOR - 1, False), (ALONE_FOR + 1, True)])
def test_a_model_is_alone_again_ten_minutes_after_the_last_request_for_another(
    quiet: float, *, whole: bool
) -> None:
    driver = Driver(replace(LIMITS, whole_device=True))
    driver.serve(replace(B, idle_ttl=5.0))
    driver.wait(10.0)
    driver.gone(B)
    driver.said(actions.Start)
    driver.wait(quiet - 10.0)
    driver.want(A)
    (start,) = driver.said(actions.Start)
    assert start.allotment.whole is whole


def test_what_the_operator_declared_holds_for_a_model_that_is_alone_too() -> None:
    driver = Driver(replace(LIMITS, whole_device=True))
    driver.want(spec("declared", memory=5 * GIB))
    (start,) = driver.said(actions.Start)
    assert start.allotment.claim == 5 * GIB


# --- out of memory ---------------------------------------------------------------------


def test_an_engine_that_ran_out_of_memory_gets_less_cache_then_all_room_then_an_error() -> None:
    driver = Driver(LIMITS)
    driver.serve(B)
    driver.said(actions.Start)
    driver.want(A)
    (first,) = driver.said(actions.Start)
    driver.fail_start(A, out_of_memory=True)
    (second,) = driver.said(actions.Start)
    assert first.allotment.tokens is not None
    assert second.allotment.tokens == first.allotment.tokens // 2
    driver.fail_start(A, out_of_memory=True)
    driver.gone(B)  # it had to make room
    (third,) = driver.said(actions.Start)
    assert (third.allotment.claim, third.allotment.whole) == (LIMITS.budget, True)
    driver.fail_start(A, out_of_memory=True)
    assert len(driver.said(actions.Fail)) == 1
    assert driver.life(A).failures == 1


def test_an_engine_is_not_smaller_for_ever_after() -> None:
    driver = Driver(LIMITS)
    small = replace(A, idle_ttl=1.0)
    driver.want(small, patience=1e7)
    driver.fail_start(A, out_of_memory=True)
    driver.said(actions.Start)
    driver.ready(A)
    driver.release(1)
    driver.wait(SHRUNK_FOR + 1)
    driver.gone(A)
    driver.want(A)
    (start,) = driver.said(actions.Start)
    assert driver.life(A).shrink is Shrink.NONE
    assert not start.allotment.smaller


# --- sleep -----------------------------------------------------------------------------


def asleep(driver: Driver, sleeper: EngineSpec, other: EngineSpec) -> None:
    """Make `sleeper` sleep to make room for `other`, which is then starting."""
    driver.serve(sleeper)
    driver.want(other)
    assert driver.said(actions.Sleep)
    driver.asleep(sleeper)


def test_an_evicted_engine_sleeps_and_wakes_for_its_next_request() -> None:
    driver = Driver(SLEEPING)
    asleep(driver, A, B)
    assert driver.life(A).held == 0
    driver.want(A)
    driver.ready(B)
    driver.release(2)
    driver.asleep(B)
    assert [action.key for action in driver.said(actions.Wake)] == [A.key]
    assert driver.life(A).held == driver.life(A).claim


def test_a_sleeper_is_asked_nothing() -> None:
    driver = Driver(SLEEPING)
    asleep(driver, A, B)
    driver.said(actions.Grant)
    driver.want(A)
    assert not driver.said(actions.Grant)


def test_an_engine_with_a_request_in_flight_does_not_sleep_until_it_has_answered() -> None:
    driver = Driver(SLEEPING)
    held = driver.want(A)
    driver.ready(A)
    driver.want(B)
    driver.wait(100.0)
    assert driver.life(A).state is State.DRAINING
    assert not driver.said(actions.Sleep)
    driver.release(held)
    assert driver.said(actions.Sleep)


@pytest.mark.parametrize("when", [State.FALLING_ASLEEP, State.ASLEEP, State.WAKING])
def test_an_engine_that_fails_to_sleep_or_to_wake_is_no_callers_fault(when: State) -> None:
    driver = Driver(SLEEPING)
    driver.serve(A, caller="x")
    driver.want(B)
    if when is not State.FALLING_ASLEEP:
        driver.asleep(A)
    if when is State.WAKING:
        driver.want(A, caller="y")
        driver.ready(B)
        driver.release(2)
        driver.asleep(B)
    life = driver.life(A)
    assert life.state is when
    driver.crash(A)
    assert not life.suspicion.active(driver.now)
    assert life.cools_for is None
    assert life.failures == 1


def test_an_engine_that_failed_to_wake_starts_as_one_that_does_not_sleep() -> None:
    driver = Driver(SLEEPING)
    asleep(driver, A, B)
    driver.crash(A)
    driver.actions.clear()
    driver.ready(B)
    driver.release(2)
    driver.want(A)
    driver.gone(A)
    driver.wait(2.0)
    driver.asleep(B)
    driver.wait(2.0)
    starts = driver.said(actions.Start)
    assert [(start.spec, start.allotment.sleeps) for start in starts] == [(A, False)]


# --- shutdown --------------------------------------------------------------------------


@pytest.mark.parametrize("when", [State.FALLING_ASLEEP, State.ASLEEP, State.WAKING])
def test_a_shutdown_ends_engines_that_sleep_or_are_about_to(when: State) -> None:
    driver = Driver(SLEEPING)
    driver.serve(A)
    driver.want(B)
    if when is not State.FALLING_ASLEEP:
        driver.asleep(A)
    if when is State.WAKING:
        driver.want(A)
        driver.ready(B)
        driver.release(2)
        driver.asleep(B)
    assert driver.life(A).state is when
    driver.tell(events.ShutDown(driver.now + 60))
    driver.gone(A)
    assert driver.life(A).state is State.FETCHED


def test_a_shutdown_waits_for_the_process_at_the_gate() -> None:
    driver = Driver(replace(ONE_SLOT, standby=1))
    driver.want(A)
    driver.ready(A)
    driver.want(B)
    (ahead,) = driver.said(actions.Prestart)
    driver.tell(events.ShutDown(driver.now + 60))
    driver.release(1)
    driver.gone(A)
    assert not driver.scheduler.empty
    driver.tell(events.Gone(B.key, ahead.generation, 0))
    assert driver.scheduler.empty
