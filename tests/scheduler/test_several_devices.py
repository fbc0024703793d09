"""Engines on several devices: where each goes, what makes room, and what runs side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.errors import ModelTooLarge
from router.models import EngineSpec
from router.scheduler import actions, events
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.placement import of_each, placements
from router.scheduler.state import Slot
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import PLAN, Driver
from tests.scheduler.test_planner import NOW, decide, slot
from tests.scheduler.test_predictions import START, moved, told

TWO = Limits(budget=10 * GIB, patience=0.0, devices=2)
FOUR = replace(TWO, devices=4)


def on(devices: tuple[int, ...], made: Slot) -> Slot:
    made.devices = devices
    if len(devices) > 1:
        made.plan = replace(PLAN, devices=len(devices))
    return made


def spanning(count: int, made: Slot, base: int | None = None) -> Slot:
    made.plan = replace(PLAN, devices=count, base=base)
    return made


# --- where an engine may be ---------------------------------------------------------------


def test_an_engine_of_several_devices_begins_at_a_multiple_where_they_divide_evenly() -> None:
    assert placements(4, 1) == ((0,), (1,), (2,), (3,))
    assert placements(4, 2) == ((0, 1), (2, 3))
    assert placements(3, 2) == ((0, 1), (1, 2))
    assert placements(4, 8) == ()


def test_the_operators_choice_of_the_first_device_is_the_only_one() -> None:
    assert placements(4, 2, base=1) == ((1, 2),)
    assert placements(4, 2, base=3) == ()


def test_a_report_of_one_number_means_the_same_for_each_device() -> None:
    assert of_each(5, (), (2, 3)) == {2: 5, 3: 5}
    assert of_each(5, (6,), (2, 3)) == {2: 5, 3: 6}


# --- where it goes ------------------------------------------------------------------------


def test_an_engine_goes_where_the_least_is_left_over() -> None:
    fuller, emptier = on((0,), slot("x", State.READY, 2)), on((1,), slot("y", State.READY, 5))
    waiting = slot("a", State.FETCHED, 4, waits=1)
    decided = decide(fuller, emptier, waiting, limits=TWO)
    assert (decided.start, decided.devices) == (waiting, (1,))
    large = slot("b", State.FETCHED, 7, waits=1)
    assert decide(fuller, emptier, large, limits=TWO).devices == (0,)


def test_no_engine_is_evicted_while_another_device_has_room() -> None:
    idle = on((0,), slot("x", State.READY, 10, used=1))
    waiting = slot("a", State.FETCHED, 5, waits=1)
    decided = decide(idle, waiting, limits=TWO)
    assert (decided.evict, decided.devices) == (None, (1,))


def test_of_two_full_devices_the_one_gives_room_whose_engines_are_the_least_loss() -> None:
    stale, recent = (
        on((1,), slot("x", State.READY, 10, used=1)),
        on((0,), slot("y", State.READY, 10, used=2)),
    )
    decided = decide(recent, stale, slot("a", State.FETCHED, 5, waits=1), limits=TWO)
    assert decided.evict is stale


def test_an_engine_whose_end_would_not_be_enough_there_stays() -> None:
    small, beside = on((0,), slot("x", State.READY, 2, used=1)), on((0,), busy("z", 8))
    enough = on((1,), slot("y", State.READY, 10, used=2))
    waiting = slot("a", State.FETCHED, 5, waits=1)
    assert decide(small, beside, enough, waiting, limits=TWO).evict is enough


def busy(name: str, gib: int) -> Slot:
    return slot(name, State.READY, gib, busy=True)


def test_an_engine_of_two_devices_evicts_only_what_is_on_them() -> None:
    elsewhere = on((0,), slot("w", State.READY, 10, used=1))
    its = [on((n,), slot(f"x{n}", State.READY, 10, used=5)) for n in (2, 3)]
    stays = on((1,), slot("p", State.READY, 10, pinned=True))
    waiting = spanning(2, slot("a", State.FETCHED, 5, waits=1))
    decided = decide(elsewhere, stays, *its, waiting, limits=FOUR)
    assert set(decided.rooms[waiting]) == set(its) or decided.evict in its
    assert decided.evict is not elsewhere


def test_the_operators_choice_holds_even_where_another_device_has_room() -> None:
    idle = on((1,), slot("x", State.READY, 10))
    waiting = spanning(1, slot("a", State.FETCHED, 5, waits=1), base=1)
    assert decide(idle, waiting, limits=TWO).evict is idle


def test_a_model_of_more_devices_than_there_are_is_refused() -> None:
    waiting = spanning(4, slot("a", State.FETCHED, 5, waits=1))
    ((_, error),) = decide(waiting, limits=TWO).reject
    assert isinstance(error, ModelTooLarge)
    assert "each of 4 devices" in error.message


def test_the_device_decides_that_has_the_least_memory_free() -> None:
    waiting = spanning(2, slot("a", State.FETCHED, 5, waits=1))
    assert decide(waiting, limits=TWO, free=4 * GIB).start is None
    assert decide(waiting, limits=TWO, free=6 * GIB).devices == (0, 1)


def test_a_sleeper_wakes_where_it_sleeps() -> None:
    sleeper, idle = on((0,), slot("s", State.ASLEEP, 6, waits=1)), on((0,), busy("x", 9))
    sleeper.held, sleeper.loaded = GIB // 4, False
    decided = decide(sleeper, idle, limits=TWO)
    assert (decided.start, decided.drain) == (None, (idle,))


def test_what_waits_for_one_device_does_not_keep_the_others() -> None:
    """A sleeper that can't have its device yet blocks only that device."""
    sleeper = on((0,), slot("s", State.ASLEEP, 6, waits=1))
    sleeper.held, sleeper.loaded = GIB // 4, False
    loads = on((0,), slot("l", State.STARTING, 9))
    behind = slot("a", State.FETCHED, 2, waits=2)
    decided = decide(sleeper, loads, behind, limits=TWO)
    assert (decided.start, decided.devices) == (behind, (1,))


@pytest.mark.parametrize(("starts_of_time", "starts"), [(1.9, False), (2.1, True)])
def test_no_engine_starts_that_would_keep_a_model_of_several_devices_from_all_of_them(
    starts_of_time: float, *, starts: bool
) -> None:
    """Until the model's time comes, others may use free memory, if they can be ready by then
    and have stayed as long as their start took."""
    hot = on((0,), busy("x", 10))
    wide, behind = (
        spanning(2, slot("w", State.FETCHED, 8, waits=1)),
        slot("a", State.FETCHED, 5, waits=2),
    )
    start, stop = (
        History().expected(stage, wide.key, 0) for stage in (Stage.START, Stage.STOP)
    )
    patience = stop + start + starts_of_time * start
    decided = decide(hot, wide, behind, limits=replace(TWO, patience=patience))
    assert (decided.start is behind) == starts
    assert decided.rooms[wide] == (hot,)


def test_a_model_goes_where_its_process_stands_at_the_gate() -> None:
    driver = Driver(replace(TWO, standby=1, budget=6 * GIB))
    for one in (A, B):
        driver.serve(one)
    driver.want(C)
    ahead = driver.said(actions.Prestart)[-1]
    assert ahead.allotment.devices == driver.life(A).devices
    driver.gone(A)
    (start,) = driver.said(actions.Start)
    assert start.generation == ahead.generation
    assert start.allotment.devices == ahead.allotment.devices


# --- side by side ---------------------------------------------------------------------------

A, B, C = (replace(spec(name), memory=None) for name in "abc")


def starts(driver: Driver) -> dict[EngineSpec, tuple[int, ...]]:
    return {one.spec: one.allotment.devices for one in driver.said(actions.Start)}


def test_engines_load_side_by_side_on_two_devices() -> None:
    driver = Driver(replace(TWO, budget=6 * GIB))
    driver.want(A)
    driver.want(B)
    driver.want(C)
    assert starts(driver) == {A: (0,), B: (1,)}


def test_a_model_does_not_wait_for_what_loads_on_another_device() -> None:
    loads = on((0,), moved(slot("l", State.STARTING, 9), 1))
    waiting = slot("a", State.FETCHED, 5, waits=1)
    assert told(waiting, loads, at=NOW, limits=TWO).seconds == START


def test_engines_load_one_after_the_other_on_one_device() -> None:
    driver = Driver(replace(TWO, budget=20 * GIB, devices=1))
    driver.want(A)
    driver.want(B)
    assert starts(driver) == {A: (0,)}
    driver.ready(A)
    assert starts(driver) == {B: (0,)}


def test_engines_of_both_devices_stop_at_once_for_one_that_needs_both() -> None:
    driver = Driver(replace(TWO, budget=6 * GIB))
    for one in (A, B):
        driver.serve(one)
    driver.plan = replace(PLAN, devices=2)
    driver.said(actions.Stop)
    driver.want(C)
    assert {stop.key for stop in driver.said(actions.Stop)} == {A.key, B.key}
    driver.gone(A)
    assert starts(driver) == {}
    driver.gone(B)
    assert starts(driver) == {C: (0, 1)}


def test_the_limit_of_loaded_models_counts_the_engines_of_all_devices() -> None:
    driver = Driver(replace(TWO, max_loaded=1))
    driver.serve(A)
    driver.said(actions.Stop)
    driver.want(B)
    assert [stop.key for stop in driver.said(actions.Stop)] == [A.key]


@pytest.mark.parametrize(("others", "devices"), [((), {0, 1}), ((0,), {0})])
def test_memory_is_written_off_by_device(others: tuple[int, ...], devices: set[int]) -> None:
    driver = Driver(replace(TWO, budget=6 * GIB))
    driver.plan = replace(PLAN, devices=2)
    driver.serve(A)
    driver.crash(A)
    driver.tell(events.Gone(A.key, driver.life(A).generation, GIB, others))
    said = " ".join(alarm.message for alarm in driver.said(actions.Alarm))
    assert {n for n in (0, 1) if f"device {n}" in said} == devices


def test_a_process_that_stands_by_for_other_devices_is_dismissed() -> None:
    driver = Driver(replace(TWO, standby=1, budget=6 * GIB))
    for one in (A, B):
        driver.serve(one)
    held = driver.want(B)
    driver.want(C)
    (ahead,) = driver.said(actions.Prestart)
    assert ahead.allotment.devices == driver.life(A).devices == (0,)  # A must stop for it
    driver.crash(B)
    driver.tell(events.Gone(B.key, driver.life(B).generation, 0))
    ended = {one.generation for one in driver.actions if isinstance(one, actions.Stop)}
    assert ahead.generation in ended
    assert starts(driver) == {C: (1,)}
    driver.release(held)
