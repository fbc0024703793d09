"""The operator's view after events with a known outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import HubUnavailable
from router.models import EngineSpec
from router.scheduler import events
from router.scheduler.forecast import Download, Reason
from router.scheduler.history import Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.make_report import MOST_CALLERS, MOST_ENGINES
from router.scheduler.report import CallersShare, EngineReport, PoolReport, StandbyReport
from router.scheduler.track import FailureKind, LastFailure
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import Driver

A, B, C = (spec(name, memory=4 * GIB) for name in "abc")


@pytest.fixture
def driver() -> Driver:
    """Room for two engines."""
    return Driver(Limits(budget=10 * GIB, patience=0.0))


def report(driver: Driver) -> PoolReport:
    return driver.scheduler.report(driver.now)


def of(driver: Driver, which: EngineSpec) -> EngineReport:
    (found,) = (one for one in report(driver).engines if one.key == which.key)
    return found


def shown(driver: Driver) -> list[str]:
    return [one.key.repo_id for one in report(driver).engines]


def test_a_pool_that_nobody_has_used_shows_its_device_and_no_engine(driver: Driver) -> None:
    empty = report(driver)
    assert (empty.engines, empty.waiting, empty.loaded) == ((), 0, 0)
    (device,) = empty.devices
    assert (device.budget, device.held, device.free) == (10 * GIB, 0, None)


def test_a_ready_engine_shows_what_it_holds_and_for_whom(driver: Driver) -> None:
    driver.want(A, caller="f" * 64)
    driver.now += 7
    driver.ready(A)
    driver.now += 3
    engine = of(driver, A)
    assert (engine.state, engine.since, engine.starts) == (State.READY, driver.now - 3, 1)
    assert (engine.claim, engine.held, engine.devices) == (4 * GIB, 4 * GIB, (0,))
    assert engine.in_flight.callers == (CallersShare("f" * 12, 1),)
    assert (engine.waiting.requests, engine.wait) == (0, None)
    assert engine.last_start is not None
    assert engine.last_start.stages == ((Stage.START, 7.0),)
    device = report(driver).devices[0]
    assert (device.held, device.free, device.measured_at) == (4 * GIB, 10 * GIB, 1000.0)


def test_a_request_that_waits_says_why_and_which_engine_leaves_for_it(driver: Driver) -> None:
    driver.serve(A)
    driver.now += 10
    driver.serve(B)
    busy = [driver.want(A), driver.want(B)]
    driver.want(C)
    waits = of(driver, C)
    assert waits.state is State.FETCHED
    assert waits.wait is not None
    assert waits.wait.forecast.reason is Reason.ROOM
    assert waits.wait.leaving == (A.key,)
    assert waits.wait.gives_up_at == driver.now + 1e6
    assert of(driver, A).state is State.DRAINING
    assert report(driver).waiting == 1
    driver.release(busy[0])
    assert of(driver, A).state is State.STOPPING


def test_idle_engines_are_in_the_order_in_which_they_make_room(driver: Driver) -> None:
    driver = Driver(Limits(budget=20 * GIB))
    pinned = spec("pinned", memory=4 * GIB, pinned=True)
    for one in (pinned, A, B, C):
        driver.serve(one)
        driver.now += 10
    driver.want(A)
    assert [of(driver, one).evicted_next for one in (B, C, A)] == [1, 2, 3]
    assert of(driver, pinned).evicted_next is None
    assert of(driver, pinned).pinned


def test_an_idle_engine_tells_when_it_expires(driver: Driver) -> None:
    mortal = spec("mortal", memory=GIB, idle_ttl=60.0)
    driver.serve(mortal)
    assert of(driver, mortal).expires_at == driver.now + 60
    assert of(driver, mortal).last_used == driver.now
    driver.want(mortal)
    assert of(driver, mortal).expires_at is None


def test_an_engine_that_no_request_has_used_was_never_used(driver: Driver) -> None:
    waiter = driver.want(A)
    assert (of(driver, A).state, of(driver, A).last_used) == (State.STARTING, None)
    driver.tell(events.Left(waiter))
    driver.ready(A)
    assert (of(driver, A).state, of(driver, A).last_used) == (State.READY, None)


def test_a_model_that_crashes_shows_why_how_often_and_when_it_may_return(
    driver: Driver,
) -> None:
    driver.want(A)
    driver.ready(A)
    driver.crash(A)
    driver.gone(A)
    engine = of(driver, A)
    assert engine.last_failure == LastFailure(FailureKind.CRASH, driver.now, "killed")
    assert (engine.failures, engine.retry_at) == (1, driver.now + 1)
    driver.want(A)
    driver.wait(2)
    driver.fail_start(A, out_of_memory=False)
    engine = of(driver, A)
    assert engine.last_failure == LastFailure(FailureKind.START, driver.now, "exit 1")
    assert (engine.failures, engine.starts) == (2, 2)


def test_a_crash_that_any_of_several_callers_may_have_caused_is_shown_though_nobody_waits(
    driver: Driver,
) -> None:
    for caller in ("ann", "ben"):
        driver.want(A, caller=caller)
    driver.ready(A)
    driver.crash(A)
    driver.gone(A)
    engine = of(driver, A)
    assert engine.last_failure == LastFailure(FailureKind.CRASH, driver.now, "killed")
    assert engine.suspected_until is not None
    driver.wait(1)
    driver.serve(A)
    driver.tell(events.Unload(A.key))
    driver.gone(A)
    assert shown(driver) == []  # that one did not crash


def test_a_start_that_failed_is_shown_though_no_request_waits(driver: Driver) -> None:
    waiter = driver.want(A)
    driver.tell(events.Left(waiter))
    driver.fail_start(A, out_of_memory=False)
    assert shown(driver) == ["org/a"]
    driver.serve(B)
    assert set(shown(driver)) == {"org/a", "org/b"}


class SlowNetwork(Driver):
    """Downloads go on until the test ends them."""

    attempt = 0

    def tell(self, event: events.Event) -> None:
        for action in self.scheduler.handle(event, self.now):
            self.attempt = getattr(action, "attempt", self.attempt)
        self.scheduler.validate()


def test_a_download_shows_how_far_it_is() -> None:
    driver = SlowNetwork(Limits(budget=10 * GIB))
    driver.want(A)
    coming = Download(30, 100, 7.0, rate=10.0)
    state = driver.scheduler.report(driver.now, {driver.attempt: coming}.__getitem__)
    (engine,) = state.engines
    assert (engine.state, engine.download) == (State.FETCHING, coming)
    assert engine.wait is not None
    assert engine.wait.forecast.reason is Reason.FETCHING
    assert engine.wait.forecast.seconds is not None


def test_a_download_that_failed_is_forgotten_with_its_model() -> None:
    driver = SlowNetwork(Limits(budget=10 * GIB))
    driver.want(A)
    error = HubUnavailable("down")
    driver.tell(events.FetchFailed(A.key, driver.attempt, error, blames_credential=False))
    assert shown(driver) == []


def test_a_process_at_its_gate_is_shown_and_its_time_is_told_apart(driver: Driver) -> None:
    driver = Driver(Limits(budget=10 * GIB, max_loaded=1, standby=1, standby_claim=GIB))
    driver.serve(A)
    busy = driver.want(A)
    driver.want(B)
    standby = driver.life(B).standby
    assert standby is not None
    began = driver.now
    driver.now += 12
    driver.tell(events.Standing(B.key, standby.generation))
    assert of(driver, B).standby == StandbyReport(standby.generation, began, driver.now)
    assert report(driver).devices[0].standby == GIB
    driver.now += 100
    driver.release(busy)
    driver.gone(A)
    driver.now += 3
    driver.ready(B)
    start = of(driver, B).last_start
    assert start is not None
    assert start.stages == ((Stage.PRESTART, 12.0), (Stage.FROM_GATE, 3.0))
    assert start.seconds == 3.0


def test_the_lists_are_cut_short_and_say_by_how_much() -> None:
    driver = Driver(Limits(budget=10 * GIB, max_queue=10_000, standby=0))
    driver.serve(A)
    driver.want(A)
    for number in range(MOST_ENGINES + 5):
        driver.want(spec(f"m{number}", memory=10 * GIB))
    for number in range(MOST_CALLERS + 3):
        driver.want(B, caller=f"{number:064}")
    driver.want(B, caller=f"{5:064}")
    state = report(driver)
    assert (len(state.engines), state.more_engines) == (MOST_ENGINES, 7)
    one = Driver(Limits(budget=GIB, max_loaded=1, max_queue=10_000))
    for number in range(MOST_CALLERS + 3):
        one.want(spec("b", memory=GIB), caller=f"{number:064}")
    waiting = of(one, spec("b", memory=GIB)).waiting
    assert (len(waiting.callers), waiting.more_callers) == (MOST_CALLERS, 3)


def test_a_report_changes_nothing(driver: Driver) -> None:
    driver.serve(A)
    driver.want(B)
    before = report(driver)
    assert report(driver) == before
    driver.scheduler.validate()


def test_memory_that_is_missing_is_written_off(driver: Driver) -> None:
    driver.serve(A)
    driver.crash(A)
    driver.tell(events.Gone(A.key, driver.life(A).generation, missing=GIB))
    assert report(driver).devices[0].written_off == GIB


def test_a_stopped_engine_without_failures_is_not_shown() -> None:
    driver = Driver(Limits(budget=10 * GIB, max_loaded=1))
    driver.serve(A)
    driver.want(B)
    driver.gone(A)
    assert shown(driver) == ["org/b"]
    assert driver.life(A).snapshot == Path("/s")
