"""The operator's commands for one engine while the worker runs: unload, pin, unpin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.errors import NoRoom
from router.models import EngineSpec
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.report import EngineReport
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import Driver

A, B, C = (spec(name, memory=4 * GIB) for name in "abc")


@pytest.fixture
def driver() -> Driver:
    """Room for two engines."""
    return Driver(Limits(budget=10 * GIB, patience=0.0))


def shown(driver: Driver, which: EngineSpec) -> EngineReport | None:
    engines = driver.scheduler.report(driver.now).engines
    return next((one for one in engines if one.key == which.key), None)


def test_an_idle_engine_that_is_unloaded_stops_at_once(driver: Driver) -> None:
    driver.serve(A)
    driver.tell(events.Unload(A.key))
    (stop,) = driver.said(actions.Stop)
    assert (stop.key, stop.why, stop.at_once) == (A.key, "unloaded", False)
    driver.gone(A)
    assert driver.life(A).state is State.FETCHED
    assert shown(driver, A) is None


def test_a_busy_one_answers_first_and_takes_no_more(driver: Driver) -> None:
    driver.serve(A)
    busy = driver.want(A)
    driver.tell(events.Unload(A.key))
    late = driver.want(A)
    assert driver.said(actions.Stop) == []
    engine = shown(driver, A)
    assert engine is not None
    assert (engine.state, engine.unloads) == (State.DRAINING, True)
    driver.said(actions.Grant)
    driver.release(busy)
    assert [stop.why for stop in driver.said(actions.Stop)] == ["unloaded"]
    driver.gone(A)
    assert [start.spec for start in driver.said(actions.Start)] == [A]
    driver.ready(A)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [late]
    assert driver.life(A).state is State.READY
    assert not driver.life(A).unloads


def test_what_is_wanted_while_an_engine_ends_holds_for_the_next_one(driver: Driver) -> None:
    larger = replace(A, memory=6 * GIB)  # like after a reload
    driver.serve(A)
    busy = driver.want(A)
    driver.tell(events.Unload(A.key))
    driver.want(replace(larger, max_queue=7))  # not a rule: rules come with `Ruled`
    assert driver.life(A).claim == 4 * GIB
    driver.release(busy)
    driver.gone(A)
    assert [start.spec for start in driver.said(actions.Start)] == [A, larger]
    assert driver.life(A).claim == 6 * GIB


def test_a_drain_by_the_operator_is_not_taken_back_for_lack_of_demand(driver: Driver) -> None:
    driver.serve(A)
    busy = driver.want(A)
    driver.tell(events.Unload(A.key))
    driver.serve(B)
    driver.wait(100)
    assert driver.life(A).state is State.DRAINING
    driver.release(busy)
    assert driver.life(A).state is State.STOPPING


def test_while_another_engine_loads_an_unloaded_one_waits_for_its_turn(driver: Driver) -> None:
    driver.serve(A)
    driver.want(B)
    driver.tell(events.Unload(A.key))
    assert driver.life(A).state is State.DRAINING
    driver.ready(B)
    assert driver.life(A).state is State.STOPPING


def test_a_start_that_is_unloaded_ends_at_once_and_its_requests_get_another(
    driver: Driver,
) -> None:
    waiter = driver.want(A)
    first = driver.life(A).generation
    driver.tell(events.Unload(A.key))
    assert [stop.generation for stop in driver.said(actions.Stop)] == [first]
    driver.gone(A)
    driver.ready(A)
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [waiter]


def test_unloading_a_pinned_engine_is_the_operators_right() -> None:
    pinned = spec("a", memory=4 * GIB, pinned=True)
    driver = Driver(Limits(budget=10 * GIB))
    driver.serve(pinned)
    busy = driver.want(pinned)
    driver.tell(events.Unload(pinned.key))
    driver.release(busy)
    assert driver.life(pinned).state is State.STOPPING


@pytest.fixture
def popular() -> Driver:
    """`A` is ready and requested every second. There is room for one engine and spare
    processes."""
    driver = Driver(Limits(budget=10 * GIB, max_loaded=1, standby=2, patience=0.0))
    for _ in range(3):
        driver.serve(A)
        driver.now += 1
    return driver


def test_what_is_unloaded_gets_no_spare_process_until_it_is_asked_for(popular: Driver) -> None:
    popular.tell(events.Unload(A.key))
    popular.gone(A)
    popular.serve(B)
    assert popular.said(actions.Prestart) == []
    asked = popular.want(A)
    popular.gone(B)
    popular.ready(A)
    popular.release(asked)
    popular.want(B)
    popular.gone(A)
    popular.ready(B)
    assert popular.life(A).standby is not None


def test_a_spare_process_ends_with_the_model_that_is_unloaded(popular: Driver) -> None:
    popular.want(B)
    popular.gone(A)
    standby = popular.life(A).standby
    assert standby is not None
    popular.said(actions.Stop)
    popular.tell(events.Unload(A.key))
    assert [stop.generation for stop in popular.said(actions.Stop)] == [standby.generation]
    popular.ready(B)
    assert popular.life(A).standby is None


def test_a_pinned_engine_makes_no_room_until_it_is_unpinned(driver: Driver) -> None:
    driver.serve(A)
    driver.serve(B)
    driver.tell(events.Pin(A.key))
    driver.want(C)
    assert driver.life(A).state is State.READY
    assert driver.life(B).state is State.STOPPING
    driver.gone(B)
    driver.ready(C)
    driver.tell(events.Pin(C.key))
    driver.want(B)
    (refused,) = driver.said(actions.Fail)
    assert isinstance(refused.error, NoRoom)
    driver.tell(events.Unpin(A.key))
    driver.want(B)
    assert driver.life(A).state is State.STOPPING


def test_a_pinned_engine_does_not_expire_until_it_is_unpinned() -> None:
    mortal = spec("a", memory=GIB, idle_ttl=60.0)
    driver = Driver(Limits(budget=10 * GIB))
    driver.serve(mortal)
    driver.tell(events.Pin(mortal.key))
    driver.wait(100)
    assert driver.life(mortal).state is State.READY
    driver.tell(events.Unpin(mortal.key))
    assert driver.life(mortal).state is State.STOPPING


def test_a_pin_takes_back_a_drain_and_an_unload(driver: Driver) -> None:
    driver.serve(A)
    busy = driver.want(A)
    driver.tell(events.Unload(A.key))
    waiting = driver.want(A)
    driver.said(actions.Grant)
    driver.tell(events.Pin(A.key))
    assert [grant.waiter for grant in driver.said(actions.Grant)] == [waiting]
    driver.release(busy)
    assert driver.life(A).state is State.READY


def test_a_pin_survives_a_crash_and_ends_with_an_unload(driver: Driver) -> None:
    driver.serve(A)
    driver.tell(events.Pin(A.key))
    driver.crash(A)
    driver.gone(A)
    driver.wait(1000)
    engine = shown(driver, A)
    assert engine is not None
    assert engine.pinned
    driver.tell(events.Unload(A.key))
    assert shown(driver, A) is None or not driver.life(A).pinned


def test_a_start_that_nobody_waits_for_goes_on_only_while_it_is_pinned(driver: Driver) -> None:
    waiter = driver.want(A)
    driver.tell(events.Pin(A.key))
    driver.tell(events.Left(waiter))
    driver.wait(1000)
    assert driver.life(A).state is State.STARTING
    driver.tell(events.Unpin(A.key))
    driver.wait(1000)
    assert driver.life(A).state is State.STOPPING


@pytest.mark.parametrize("says", [events.Unload, events.Pin, events.Unpin])
def test_a_word_about_a_model_that_is_not_known_changes_nothing(
    driver: Driver, says: type[events.Unload]
) -> None:
    driver.tell(says(A.key))
    assert A.key not in driver.scheduler.slots


@pytest.mark.parametrize("says", [events.Unload, events.Pin, events.Unpin])
def test_in_a_shutdown_the_operators_words_come_too_late(
    driver: Driver, says: type[events.Unload]
) -> None:
    driver.serve(A)
    busy = driver.want(A)
    driver.tell(events.ShutDown(driver.now + 10))
    driver.tell(says(A.key))
    driver.release(busy)
    assert [stop.why for stop in driver.said(actions.Stop)] == ["drained"]


def test_a_pin_on_a_model_that_fails_to_start_needs_no_timer(driver: Driver) -> None:
    waiter = driver.want(A)
    driver.tell(events.Pin(A.key))
    driver.tell(events.Left(waiter))
    driver.fail_start(A, out_of_memory=False)
    assert driver.life(A).state is State.COLD
    driver.wait(1000)
    assert driver.scheduler.wake_at > driver.now
    assert shown(driver, A) is not None
