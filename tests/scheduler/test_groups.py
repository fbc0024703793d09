"""Groups of models that may not all be loaded at once, and limits of one model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.errors import NoRoom, QueueFull
from router.models import EngineSpec, ModelGroup
from router.scheduler import actions, events
from router.scheduler.forecast import Reason
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.report import EngineReport
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import Driver

LIMITS = Limits(budget=30 * GIB, patience=0.0)
ONE, TWO = ModelGroup("one"), ModelGroup("two", max_loaded=2)
ALONE = ModelGroup("alone", exclusive=True)


def model(
    name: str, group: ModelGroup | None = None, gib: int = 4, **settings: object
) -> EngineSpec:
    return spec(name, memory=gib * GIB, group=group, **settings)


FREE, OTHER = model("free"), model("other")
A, B, C = (model(name, ONE) for name in "abc")
X = model("x", ALONE)


@pytest.fixture
def driver() -> Driver:
    """Room for all models here together."""
    return Driver(LIMITS)


def states(driver: Driver, *specs: EngineSpec) -> list[State]:
    return [driver.life(one).state for one in specs]


def shown(driver: Driver, which: EngineSpec) -> EngineReport:
    engines = driver.scheduler.report(driver.now).engines
    return next(one for one in engines if one.key == which.key)


def reason(driver: Driver, which: EngineSpec) -> Reason:
    return driver.scheduler.forecast(which.key, driver.now).reason


def refusals(driver: Driver) -> list[tuple[int, str]]:
    return [(one.waiter, one.error.message) for one in driver.said(actions.Fail)]


# --- models that may be loaded together -----------------------------------------------------


def test_models_without_a_group_stay_loaded_together(driver: Driver) -> None:
    for one in (FREE, OTHER, A):
        driver.serve(one)
    assert states(driver, FREE, OTHER, A) == [State.READY] * 3


def test_of_a_group_the_next_model_takes_the_place_of_the_loaded_one(driver: Driver) -> None:
    driver.serve(FREE)
    driver.serve(A)
    driver.said(actions.Start)
    driver.want(B)
    (stop,) = driver.said(actions.Stop)
    assert (stop.key, stop.why, stop.room_for, stop.group) == (A.key, "evicted", B.key, "one")
    driver.gone(A)
    driver.ready(B)
    assert states(driver, FREE, A, B) == [State.READY, State.FETCHED, State.READY]


def test_of_a_larger_group_the_least_loss_leaves() -> None:
    driver = Driver(replace(LIMITS, budget=100 * GIB))
    first, second, third = (model(name, TWO) for name in "abc")
    driver.serve(FREE)
    driver.serve(first)
    driver.serve(second)
    driver.wait(10)
    driver.serve(first)
    driver.want(third)
    assert [stop.key for stop in driver.said(actions.Stop)] == [second.key]


@pytest.mark.parametrize(("up", "comes"), [(FREE, X), (X, FREE), (A, X), (X, A)])
def test_an_exclusive_group_shares_the_worker_with_no_other_model(
    driver: Driver, up: EngineSpec, comes: EngineSpec
) -> None:
    driver.serve(up)
    driver.said(actions.Stop)
    driver.want(comes)
    (stop,) = driver.said(actions.Stop)
    assert (stop.key, stop.group) == (up.key, "alone")
    driver.gone(up)
    driver.ready(comes)
    assert states(driver, up, comes) == [State.FETCHED, State.READY]


def test_all_others_leave_for_an_exclusive_group_one_by_one(driver: Driver) -> None:
    for one in (FREE, OTHER, A):
        driver.serve(one)
    driver.want(X)
    for _ in range(3):
        (stop,) = driver.said(actions.Stop)
        assert driver.life(X).state is State.FETCHED
        driver.gone(next(one for one in (FREE, OTHER, A) if one.key == stop.key))
    driver.ready(X)


def test_an_exclusive_group_may_have_several_models(driver: Driver) -> None:
    apart = ModelGroup("apart", max_loaded=2, exclusive=True)
    pair = [model(name, apart) for name in "ab"]
    for one in pair:
        driver.serve(one)
    assert states(driver, *pair) == [State.READY, State.READY]


def test_a_group_holds_for_all_devices_together() -> None:
    driver = Driver(replace(LIMITS, devices=2))
    driver.serve(A)
    driver.want(B)
    assert [stop.key for stop in driver.said(actions.Stop)] == [A.key]
    assert driver.said(actions.Start) == []
    driver.gone(A)
    assert [start.spec for start in driver.said(actions.Start)] == [B]


def test_an_engine_that_sleeps_is_not_loaded_and_wakes_as_one_that_starts() -> None:
    driver = Driver(replace(LIMITS, sleep_memory=30 * GIB))
    driver.serve(A)
    driver.want(B)
    (sleep,) = driver.said(actions.Sleep)
    assert (sleep.key, sleep.room_for, sleep.group) == (A.key, B.key, "one")
    driver.asleep(A)
    driver.ready(B)
    driver.release(1 + 1)
    assert states(driver, A, B) == [State.ASLEEP, State.READY]
    driver.want(A)
    assert driver.said(actions.Wake) == []
    assert states(driver, A, B) == [State.ASLEEP, State.FALLING_ASLEEP]
    driver.asleep(B)
    assert [wake.key for wake in driver.said(actions.Wake)] == [A.key]


# --- requests and turns ---------------------------------------------------------------------


def test_an_engine_that_answers_is_not_cut_off_for_its_group(driver: Driver) -> None:
    driver.want(A)
    driver.ready(A)
    waits = driver.want(B)
    assert states(driver, A, B) == [State.DRAINING, State.FETCHED]
    assert reason(driver, B) is Reason.GROUP
    wait = shown(driver, B).wait
    assert wait is not None
    assert wait.leaving == (A.key,)
    assert str(wait.forecast).startswith("waiting for its group: another model leaves in")
    assert driver.said(actions.Stop) == []
    driver.release(1)
    driver.gone(A)
    driver.ready(B)
    assert [grant.waiter for grant in driver.said(actions.Grant)][-1] == waits


def test_while_a_model_waits_for_its_group_those_behind_it_use_the_room(driver: Driver) -> None:
    driver.want(A)
    driver.ready(A)
    driver.want(B)
    driver.want(C)
    driver.want(FREE)
    assert [start.spec for start in driver.said(actions.Start)][-1] == FREE
    assert states(driver, A, B, C) == [State.DRAINING, State.FETCHED, State.FETCHED]


def test_no_later_model_delays_the_turn_of_an_exclusive_one(driver: Driver) -> None:
    busy = driver.want(FREE)
    driver.ready(FREE)
    driver.want(X)
    driver.want(OTHER)
    assert states(driver, FREE, X, OTHER) == [State.DRAINING, State.FETCHED, State.FETCHED]
    driver.release(busy)
    driver.gone(FREE)
    assert states(driver, X, OTHER) == [State.STARTING, State.FETCHED]
    driver.ready(X)
    driver.release(2)
    driver.gone(X)
    assert driver.life(OTHER).state is State.STARTING


def test_until_an_engine_may_leave_no_later_model_takes_its_groups_place() -> None:
    driver = Driver(replace(LIMITS, patience=60.0))
    driver.serve(FREE)
    for _ in range(3):
        driver.wait(1)
        driver.serve(FREE)
    driver.want(X)
    assert driver.life(FREE).state is State.READY
    driver.want(OTHER)
    assert driver.life(OTHER).state is State.FETCHED
    driver.wait(60)
    assert driver.life(FREE).state is State.STOPPING


def test_a_caller_with_an_engine_of_its_own_gets_its_turn_in_a_group(driver: Driver) -> None:
    driver.serve(A, caller="first")
    driver.serve(FREE, caller="second")
    driver.want(A, caller="first")
    driver.want(B, caller="second")
    assert states(driver, A, B, FREE) == [State.DRAINING, State.FETCHED, State.READY]


def test_of_a_group_a_caller_gives_up_its_own_engine_before_another_callers() -> None:
    driver = Driver(replace(LIMITS, budget=12 * GIB))
    own, others, new = (model(name, TWO) for name in ("own", "others", "new"))
    driver.serve(others, caller="other")
    driver.wait(1)
    driver.serve(own, caller="me")
    driver.want(new, caller="me")
    assert [stop.key for stop in driver.said(actions.Stop)] == [own.key]


@pytest.mark.parametrize(("pinned", "wanted", "group"), [(A, B, "one"), (FREE, X, "alone")])
def test_a_request_that_a_pinned_model_of_the_group_keeps_out_is_told_so(
    driver: Driver, pinned: EngineSpec, wanted: EngineSpec, group: str
) -> None:
    driver.serve(pinned)
    driver.tell(events.Pin(pinned.key))
    driver.want(wanted)
    (refused,) = driver.said(actions.Fail)
    assert isinstance(refused.error, NoRoom)
    assert f"`{group}`" in refused.error.message
    driver.tell(events.Unpin(pinned.key))
    driver.want(wanted)
    assert driver.life(pinned).state is State.STOPPING


# --- prestarts ------------------------------------------------------------------------------


def test_beside_an_exclusive_group_no_process_of_another_stands_by() -> None:
    driver = Driver(replace(LIMITS, standby=2))
    driver.want(X)
    driver.ready(X)
    driver.want(FREE)
    assert driver.life(X).state is State.DRAINING
    assert driver.said(actions.Prestart) == []
    driver.release(1)
    assert [one.spec for one in driver.said(actions.Prestart)] == [FREE]


def test_a_process_that_stands_by_ends_when_an_exclusive_group_is_loaded() -> None:
    driver = Driver(replace(LIMITS, standby=1, max_loaded=1))
    driver.want(FREE)
    driver.ready(FREE)
    driver.want(X)
    later = driver.want(OTHER)
    driver.tell(events.Left(later))
    driver.said(actions.Prestart)
    driver.release(1)
    driver.gone(FREE)
    assert driver.life(X).state is State.STARTING
    assert driver.life(OTHER).standby is None


def test_the_next_model_of_a_full_group_starts_ahead(driver: Driver) -> None:
    driver = Driver(replace(LIMITS, standby=1))
    driver.want(A)
    driver.ready(A)
    driver.want(B)
    assert [one.spec for one in driver.said(actions.Prestart)] == [B]


# --- new rules while the worker runs --------------------------------------------------------


def test_engines_that_a_new_group_parts_leave_but_for_one(driver: Driver) -> None:
    before = [replace(one, group=None) for one in (A, B)]
    driver.serve(before[0])
    busy = driver.want(before[0])
    driver.serve(before[1])
    driver.wait(5)
    assert states(driver, A, B) == [State.READY, State.READY]
    driver.tell(events.Ruled((A, B)))
    assert states(driver, A, B) == [State.READY, State.STOPPING]
    driver.gone(B)
    driver.release(busy)
    driver.want(B)
    assert states(driver, A, B) == [State.STOPPING, State.FETCHED]


def test_what_an_engine_answers_goes_on_when_a_new_group_parts_it(driver: Driver) -> None:
    before = [replace(one, group=None) for one in (A, B)]
    for one in before:
        driver.serve(one)
    busy = [driver.want(one) for one in before]
    driver.tell(events.Ruled((A, B)))
    assert sorted(states(driver, A, B)) == [State.DRAINING, State.READY]
    assert driver.said(actions.Stop) == []
    for waiter in busy:
        driver.release(waiter)
    (stop,) = driver.said(actions.Stop)
    assert (stop.why, stop.group) == ("unloaded", "one")


def test_of_engines_that_a_new_group_parts_the_pinned_one_stays(driver: Driver) -> None:
    for one in (A, B):
        driver.serve(replace(one, group=None))
        driver.wait(5)
    driver.tell(events.Pin(A.key))
    driver.tell(events.Ruled((A, B)))
    assert states(driver, A, B) == [State.READY, State.STOPPING]


def test_a_group_that_is_gone_no_longer_keeps_a_model_waiting(driver: Driver) -> None:
    driver.want(A)
    driver.ready(A)
    driver.want(B)
    driver.tell(events.Ruled(tuple(replace(one, group=None) for one in (A, B))))
    assert states(driver, A, B) == [State.READY, State.STARTING]


def test_a_start_that_a_new_group_forbids_ends_and_its_requests_get_another(
    driver: Driver,
) -> None:
    driver.serve(replace(A, group=None))
    driver.tell(events.Pin(A.key))
    waits = driver.want(replace(B, group=None))
    driver.tell(events.Ruled((A, B)))
    assert states(driver, A, B) == [State.READY, State.STOPPING]
    driver.gone(B)
    assert [fail.waiter for fail in driver.said(actions.Fail)] == [waits]


# --- limits of one model --------------------------------------------------------------------


def test_a_model_takes_as_many_requests_at_once_as_its_own_limit_says(driver: Driver) -> None:
    narrow = model("narrow", max_concurrency=1)
    first, second = driver.want(narrow), driver.want(narrow)
    driver.ready(narrow)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [first]
    assert reason(driver, narrow) is Reason.PLACE
    driver.release(first)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [second]


def test_a_models_own_limit_may_be_higher_than_that_of_all() -> None:
    driver = Driver(replace(LIMITS, max_concurrency=1))
    wide = model("wide", max_concurrency=2)
    waiters = [driver.want(wide), driver.want(wide)]
    driver.ready(wide)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == waiters


def test_a_limit_changes_while_the_engine_answers_and_starts_no_other(driver: Driver) -> None:
    driver.serve(FREE)
    driver.said(actions.Start)
    first, second = driver.want(FREE), driver.want(FREE)
    driver.tell(events.Ruled((replace(FREE, max_concurrency=1),)))
    third = driver.want(FREE)
    driver.release(first)
    driver.said(actions.Grant)
    driver.release(second)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [third]
    fourth = driver.want(FREE)
    driver.tell(events.Ruled((replace(FREE, max_concurrency=2),)))
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [fourth]
    assert driver.said(actions.Start) == []


def test_a_request_beyond_a_models_own_queue_is_refused_at_once(driver: Driver) -> None:
    short = model("short", max_queue=1)
    driver.want(short)
    late = driver.want(short)
    (refused,) = driver.said(actions.Fail)
    assert (refused.waiter, type(refused.error)) == (late, QueueFull)
    assert "max_queue" in refused.error.message
    driver.want(FREE)
    assert driver.said(actions.Fail) == []


def test_in_a_models_full_queue_a_caller_with_many_places_gives_one_up(driver: Driver) -> None:
    short = model("short", max_queue=2)
    driver.want(short, caller="many")
    newest = driver.want(short, caller="many")
    driver.want(short, caller="new")
    assert [fail.waiter for fail in driver.said(actions.Fail)] == [newest]
    driver.want(short, caller="many")
    assert "max_queue" in refusals(driver)[0][1]


def test_a_shorter_idle_time_holds_from_now_on(driver: Driver) -> None:
    driver.serve(FREE)
    driver.tell(events.Ruled((replace(FREE, idle_ttl=30.0),)))
    driver.wait(31)
    assert [stop.why for stop in driver.said(actions.Stop)] == ["expired"]


def test_a_pin_of_the_models_file_holds_from_now_on(driver: Driver) -> None:
    driver.serve(FREE)
    driver.tell(events.Ruled((replace(FREE, pinned=True, idle_ttl=30.0),)))
    driver.wait(31)
    assert driver.said(actions.Stop) == []
    driver.tell(events.Ruled((replace(FREE, idle_ttl=30.0),)))
    driver.wait(1)
    assert [stop.why for stop in driver.said(actions.Stop)] == ["expired"]
