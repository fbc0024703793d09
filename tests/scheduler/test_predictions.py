"""What a waiting caller is told, for known states of all engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import DeadlineExceeded, ModelLoading
from router.scheduler.events import Wanted
from router.scheduler.fairness import StartSeconds
from router.scheduler.forecast import (
    GUESSED,
    NO_DOWNLOAD,
    OVERDUE,
    Download,
    Forecast,
    Reason,
    rest,
)
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.predictions import Forecasts, place_in
from router.scheduler.rejections import too_late
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.view import View
from tests.pool.fakes import GIB, spec
from tests.scheduler.test_planner import NOW, slot

START, STOP, WAKE, SLEEP, FROM_GATE = 40.0, 4.0, 3.0, 2.0, 15.0
LIMITS = Limits(budget=10 * GIB, patience=100.0)


def measured() -> History:
    history = History()
    for stage, seconds in (
        (Stage.START, START),
        (Stage.STOP, STOP),
        (Stage.WAKE, WAKE),
        (Stage.SLEEP, SLEEP),
        (Stage.FROM_GATE, FROM_GATE),
    ):
        history.took(stage, spec("some").key, 0, seconds)
    return history


def told(
    about: Slot,
    *others: Slot,
    at: float = NOW,
    download: Download = NO_DOWNLOAD,
    limits: Limits = LIMITS,
    history: History | None = None,
) -> Forecast:
    index = SlotIndex.of([*others, about], limits, at)
    view = View(index, limits, history or measured(), StartSeconds(), at)
    return Forecasts().of(about, view, download)


def in_use(name: str, *, since: float, service: float, gib: int = 10) -> Slot:
    """An engine that has long been ready, and is answering one request."""
    engine = slot(name, State.READY, gib, busy=True, ready_at=NOW - 1000)
    engine.since[999], engine.service = since, service
    return engine


def moved(engine: Slot, seconds_ago: float) -> Slot:
    engine.moved_at = engine.started_at = engine.process_since = NOW - seconds_ago
    return engine


def test_a_start_takes_the_rest_of_what_one_took_here() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 10)
    found = Forecast(Reason.STARTING, START - 10, expected=START, elapsed=10)
    assert told(starting) == found
    assert not found.overdue


def test_a_start_from_the_gate_takes_what_such_a_start_took() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 10)
    starting.from_gate = True
    assert told(starting) == Forecast(
        Reason.STARTING, FROM_GATE - 10, expected=FROM_GATE, elapsed=10
    )


def test_a_start_that_began_before_it_was_wanted_counts_from_there() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 10)
    starting.process_since = NOW - 30
    assert told(starting) == Forecast(Reason.STARTING, START - 30, expected=START, elapsed=30)


def test_waking_takes_what_waking_took() -> None:
    assert told(moved(slot("a", State.WAKING, waits=1), 1)) == Forecast(
        Reason.WAKING, WAKE - 1, expected=WAKE, elapsed=1
    )


def test_the_rest_of_a_start_that_takes_longer_than_expected_grows() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 0)
    left = [told(starting, at=NOW + seconds).seconds for seconds in (START, 100, 1000)]
    assert left == [OVERDUE * START, OVERDUE * 100, OVERDUE * 1000]


def test_a_start_that_takes_longer_than_expected_says_so() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 0)
    late = told(starting, at=NOW + START + 5)
    assert late.overdue
    assert str(late) == "starting: longer than expected, 45 s instead of 40 s"


def test_the_first_start_of_all_is_a_guess_and_does_not_end_soon_once_it_is_late() -> None:
    starting = moved(slot("a", State.STARTING, waits=1), 0)
    begun = told(starting, history=History())
    assert begun.guessed
    late = told(starting, at=NOW + 100, history=History())
    assert late.overdue
    assert late.seconds == GUESSED * 100
    waiting = slot("b", State.FETCHED, waits=1)
    assert told(waiting, history=History()).guessed
    assert not told(waiting).guessed
    assert not told(starting).guessed


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_what_goes_on_is_never_about_to_be_over_for_long(
    expected: float, elapsed: float
) -> None:
    left = rest(expected, elapsed)
    assert left >= 1
    assert left >= expected - elapsed
    assert left <= max(expected, elapsed, 1)


def test_a_download_is_followed_by_a_start() -> None:
    fetching = slot("a", State.FETCHING, waits=1)
    told_of = told(fetching, download=Download(50, 100, 20.0))
    assert told_of == Forecast(Reason.FETCHING, 20 + START)


def test_of_a_download_without_a_rate_nothing_is_promised() -> None:
    fetching = slot("a", State.FETCHING, waits=1)
    assert told(fetching) == Forecast(Reason.FETCHING)
    queued = told(fetching, download=Download(queued=True))
    assert (queued, str(queued)) == (
        Forecast(Reason.DOWNLOADS),
        "waiting for other downloads",
    )


def test_a_model_in_line_hears_when_an_engine_in_use_leaves_for_it() -> None:
    busy = in_use("secret-model", since=NOW - 1, service=6.0)
    about = told(slot("a", State.FETCHED, 10, waits=1), busy)
    # It waits for 100 s, including its own swap; the engine's last answer takes 6 s of these.
    room_in = 100.0 - START - STOP - 6.0 + 6.0 + STOP
    assert about == Forecast(Reason.ROOM, room_in + START, room_in)
    assert str(about) == "waiting for room: another model leaves in about 60 s"


def test_nobody_hears_the_name_of_another_model_or_caller() -> None:
    busy = in_use("secret-model", since=NOW - 1, service=6.0)
    for state in (State.FETCHED, State.ASLEEP, State.FETCHING, State.STOPPING):
        assert "secret" not in str(told(slot("a", state, 10, waits=1), busy))


def test_an_engine_that_drains_leaves_after_its_answers_which_may_take_longer() -> None:
    busy = in_use("b", since=NOW - 1, service=6.0)
    busy.state = State.DRAINING
    waiting = slot("a", State.FETCHED, 10, waits=1)
    assert told(waiting, busy).room_in == 5.0 + STOP
    busy.since[999] = NOW - 300
    assert told(waiting, busy).room_in == OVERDUE * 300 + STOP


def test_an_engine_that_stops_already_leaves_when_that_is_done() -> None:
    stopping = moved(slot("b", State.STOPPING, 10), 1)
    about = told(slot("a", State.FETCHED, 10, waits=1), stopping)
    assert about == Forecast(Reason.ROOM, STOP - 1 + START, STOP - 1)


def test_an_engine_that_can_sleep_leaves_sooner() -> None:
    sleeps = in_use("b", since=NOW - 1, service=6.0)
    sleeps.sleeps = True
    limits = replace(LIMITS, sleep_memory=100 * GIB)
    about = told(slot("a", State.FETCHED, 10, waits=1), sleeps, limits=limits)
    assert about.room_in == 100.0 - START


def test_what_the_models_before_take_counts() -> None:
    starting = moved(slot("x", State.STARTING, 2), 10)
    first, second = (slot(name, State.FETCHED, 2, waits=n) for n, name in enumerate("ab", 1))
    assert told(first, starting, second).seconds == START - 10 + START
    behind = told(second, starting, first)
    assert behind == Forecast(Reason.TURN, START - 10 + START + START)
    assert str(behind) == "waiting for its turn"


def test_a_model_that_can_not_be_placed_yet_waits_no_less_than_those_before() -> None:
    busy = in_use("x", since=NOW - 1, service=6.0)
    first, second = (slot(name, State.FETCHED, 10, waits=n) for n, name in enumerate("ab", 1))
    before, behind = told(first, busy, second), told(second, busy, first)
    assert before.reason is Reason.ROOM
    assert behind.reason is Reason.TURN
    assert behind.seconds is not None
    assert before.seconds is not None
    assert behind.seconds >= before.seconds + START


def test_a_model_far_behind_waits_for_all_before_it() -> None:
    line = [slot(f"m{number:02}", State.FETCHED, 10, waits=number) for number in range(1, 60)]
    busy = in_use("x", since=NOW - 1, service=6.0)
    seconds = [
        told(line[place], busy, *line[:place]).seconds or 0.0 for place in (0, 1, 20, 58)
    ]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 58 * START


def test_a_model_whose_engine_leaves_hears_that_it_comes_back() -> None:
    leaving = in_use("a", since=NOW - 1, service=6.0)
    leaving.state = State.DRAINING
    leaving.queue[2] = Wanted(2, 2, leaving.spec, "", NOW + 100)
    about = told(leaving)
    assert about.reason is Reason.TURN
    assert about.seconds is not None
    assert about.seconds >= 5.0 + STOP + START


def test_a_model_that_cools_down_starts_after_that() -> None:
    failed = slot("a", State.FETCHED, waits=1)
    failed.retry_at = NOW + 0.5
    assert told(failed) == Forecast(Reason.COOLING, 0.5 + START)


def test_a_busy_engine_has_a_place_when_it_has_answered() -> None:
    busy = in_use("a", since=NOW - 1, service=6.0)
    assert told(busy) == Forecast(Reason.PLACE)
    for number in range(1, 4):
        busy.queue[number] = Wanted(number, number, busy.spec, "", NOW + 100)
    assert told(busy, limits=replace(LIMITS, max_concurrency=2)) == Forecast(Reason.PLACE, 12.0)


def test_the_line_is_looked_at_once_a_second() -> None:
    waiting = slot("a", State.FETCHED, 10, waits=1)
    stopping = moved(slot("b", State.STOPPING, 10), 0)
    forecasts = Forecasts()

    def ask(at: float, *slots: Slot) -> float | None:
        index = SlotIndex.of(slots, LIMITS, at)
        view = View(index, LIMITS, measured(), StartSeconds(), at)
        return forecasts.of(waiting, view, NO_DOWNLOAD).seconds

    assert ask(NOW, waiting, stopping) == STOP + START
    assert ask(NOW + 0.5, waiting) == STOP + START - 0.5
    assert ask(NOW + 1, waiting) == START


@pytest.mark.parametrize(
    ("states", "seconds"),
    [
        ((State.FETCHED,), 10.0),
        ((State.FETCHED, State.STARTING), START - 10),
        ((State.STARTING, State.READY), 2.0),
    ],
)
def test_a_full_queue_has_places_when_an_engine_takes_its_requests(
    states: tuple[State, ...], seconds: float
) -> None:
    slots = [
        moved(slot(f"m{number}", state, 1, waits=number), 10)
        for number, state in enumerate(states, 1)
    ]
    index = SlotIndex.of(slots, LIMITS, NOW)
    assert place_in(View(index, LIMITS, measured(), StartSeconds(), NOW)) == seconds


@pytest.mark.parametrize(
    ("reason", "seconds", "retry_after"),
    [
        (Reason.STARTING, 12.0, 12.0),
        (Reason.FETCHING, 3000.0, 30.0),  # after a longer time, the download would be given up
        (Reason.FETCHING, None, 10.0),
        (Reason.ROOM, 44.0, 44.0),
        (Reason.TURN, 3000.0, 300.0),  # the model keeps its turn longer
        (Reason.PLACE, None, 10.0),
    ],
)
def test_a_request_that_gives_up_hears_when_to_come_back(
    reason: Reason, seconds: float | None, retry_after: float
) -> None:
    error = too_late(Forecast(reason, seconds), linger=60.0)
    loads = reason in (Reason.STARTING, Reason.FETCHING)
    assert type(error) is (ModelLoading if loads else DeadlineExceeded)
    assert error.retry_after == retry_after
    assert str(reason) in error.message
