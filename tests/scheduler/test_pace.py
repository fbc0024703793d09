from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from router.scheduler.actions import Allotment
from router.scheduler.events import Wanted
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.pace import LONGEST_BATCH, PACE, Pace
from router.scheduler.standby import Standby
from router.scheduler.state import Slot
from tests.pool.fakes import GIB, spec

NOW = 10_000.0
TIMES = {
    Stage.START: 40.0,
    Stage.PRESTART: 18.0,
    Stage.FROM_GATE: 22.0,
    Stage.SLEEP: 1.0,
    Stage.WAKE: 2.0,
    Stage.STOP: 4.0,
}
SWAP = TIMES[Stage.STOP] + TIMES[Stage.START]
LIMITS = Limits(budget=80 * GIB)


def history() -> History:
    made = History()
    for stage, seconds in TIMES.items():
        for name in ("victim", "waits"):
            made.took(stage, spec(name).key, 16 * GIB, seconds)
    return made


def pace(engines: int = 1, **limits: object) -> Pace:
    return Pace(replace(LIMITS, **limits), history(), NOW, engines)  # type: ignore[arg-type]


def engine(*, gap: float = 1.0, quiet: float = 0.0, busy: bool = False) -> Slot:
    """An engine that has long been ready, for a model requested every `gap` seconds."""
    made = Slot(spec("victim"), 16 * GIB, State.READY)
    made.size, made.snapshot = 16 * GIB, Path("/s")
    made.answered, made.ready_at = True, NOW - 5000.0
    made.demand.last, made.demand.gap = NOW - quiet, gap
    if busy:
        made.leases[1], made.since[1] = Wanted(1, 1, made.spec, "", NOW + 100), NOW
    return made


def waiting(since: float = NOW) -> Slot:
    made = Slot(spec("waits"), 16 * GIB, State.FETCHED)
    made.size, made.turn_since = 16 * GIB, since
    return made


def standby(since: float, *, standing: bool) -> Standby:
    return Standby(7, Allotment(0, 0, whole=False), since, stood_at=since if standing else None)


def test_an_idle_engine_of_a_model_that_is_asked_for_rarely_leaves_at_once() -> None:
    assert pace().leaves_at(engine(gap=500.0), waiting()) <= NOW
    assert pace().leaves_at(engine(gap=inf), waiting()) <= NOW


def test_an_engine_in_use_leaves_so_early_that_the_wait_ends_within_the_patience() -> None:
    patience = (1 + PACE) * SWAP
    assert pace().leaves_at(engine(busy=True), waiting()) == NOW + patience - SWAP
    assert pace().leaves_at(engine(busy=True), waiting(NOW - patience)) <= NOW


def test_an_idle_engine_leaves_once_it_was_quiet_for_as_long_as_a_wait_would_be() -> None:
    patience = (1 + PACE) * SWAP
    assert pace().leaves_at(engine(quiet=patience - 5.0), waiting()) == NOW + 5.0
    assert pace().leaves_at(engine(quiet=patience), waiting()) <= NOW


def test_the_setting_says_how_long_a_model_waits() -> None:
    assert pace(patience=0.0).leaves_at(engine(busy=True), waiting()) <= NOW
    assert pace(patience=300.0).leaves_at(engine(busy=True), waiting()) == NOW + 300.0 - SWAP


def test_where_more_engines_can_make_room_each_may_stay_for_less() -> None:
    patiences = [pace(engines).patience(SWAP) for engines in (1, 2, 8)]
    assert patiences == sorted(patiences, reverse=True)
    assert patiences[-1] > SWAP


def test_the_answers_that_are_still_to_be_given_are_a_part_of_the_swap() -> None:
    slow = engine(busy=True)
    slow.service = 30.0
    assert pace(patience=300.0).leaves_at(slow, waiting()) == NOW + 300.0 - SWAP - 30.0


def test_an_engine_does_not_drain_for_a_long_answer_before_twice_the_patience() -> None:
    """It can't leave before that answer has ended, so it may answer others meanwhile."""
    long = engine(busy=True)
    long.service, long.since[1] = 5.0, NOW - 16.0
    assert pace(patience=300.0).leaves_at(long, waiting()) == NOW + 600.0
    long.since[1] = NOW - 15.0
    assert pace(patience=300.0).leaves_at(long, waiting()) < NOW + 300.0


def test_long_drains_keep_an_engine_for_half_of_their_time() -> None:
    young = engine(busy=True)
    young.ready_at, young.drains_in = NOW, 60.0
    stays_until = NOW + TIMES[Stage.START] + 30.0
    assert pace().leaves_at(young, waiting(NOW - 1000.0)) == stays_until


def test_an_engine_stays_for_as_long_as_its_return_takes() -> None:
    young = engine(busy=True)
    young.ready_at = NOW - 10.0
    stays_until = young.ready_at + TIMES[Stage.START]
    assert pace().leaves_at(young, waiting(NOW - 1000.0)) == stays_until
    young.sleeps = True
    assert pace().leaves_at(young, waiting(NOW - 1000.0)) <= NOW  # it wakes in two seconds


def test_the_requests_that_waited_for_a_start_are_taken_first_but_not_for_ever() -> None:
    young = engine(busy=True)
    young.ready_at, young.batch = NOW - 100.0, 5
    young.queue[5] = Wanted(5, 5, young.spec, "", NOW + 100)
    served = young.ready_at + LONGEST_BATCH
    assert pace().leaves_at(young, waiting(NOW - 1000.0)) == served
    young.batch = 4  # the waiting one came later
    assert pace().leaves_at(young, waiting(NOW - 1000.0)) <= NOW


def test_an_engine_that_drains_sleeps_or_came_up_for_nobody_leaves_at_once() -> None:
    draining, sleeper, unneeded = engine(busy=True), engine(), engine()
    draining.state, sleeper.state, unneeded.answered = State.DRAINING, State.ASLEEP, False
    for one in (draining, sleeper, unneeded):
        assert pace().leaves_at(one, waiting()) == -inf


def test_no_engine_leaves_for_a_process_that_could_not_use_its_memory_yet() -> None:
    slot = waiting(NOW - 1000.0)
    slot.standby = standby(NOW - 8.0, standing=False)
    assert pace().leaves_at(engine(gap=inf), slot) == NOW + 10.0
    slot.standby = standby(NOW - 8.0, standing=True)
    assert pace().leaves_at(engine(gap=inf), slot) <= NOW


def test_the_way_back_is_as_short_as_what_is_left_of_a_start() -> None:
    slot = waiting()
    assert pace().return_time(slot) == TIMES[Stage.START]
    slot.standby = standby(NOW - 8.0, standing=False)
    assert pace().return_time(slot) == 10.0 + TIMES[Stage.FROM_GATE]
    slot.standby = standby(NOW - 8.0, standing=True)
    assert pace().return_time(slot) == TIMES[Stage.FROM_GATE]
    slot.standby, slot.state = None, State.ASLEEP
    assert pace().return_time(slot) == TIMES[Stage.WAKE]


def test_short_swaps_come_sooner() -> None:
    slow, quick = engine(busy=True), engine(busy=True)
    quick.sleeps = True
    assert pace().leaves_at(quick, waiting()) < pace().leaves_at(slow, waiting())


@given(
    st.floats(0, 5000), st.floats(0, 5000), st.booleans(), st.floats(0, 900), st.floats(0, 900)
)
def test_the_longer_a_model_waits_the_sooner_an_engine_leaves(
    gap: float,
    quiet: float,
    busy: bool,
    longer: float,
    shorter: float,
) -> None:
    victim = engine(gap=gap, quiet=quiet, busy=busy)
    since = sorted((NOW - longer, NOW - shorter))
    first, second = (pace().leaves_at(victim, waiting(at)) for at in since)
    assert first <= second
    assert second < inf
