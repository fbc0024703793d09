from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scheduler.events import Wanted
from router.scheduler.fairness import (
    ALLOWANCE,
    HALF_LIFE,
    RECENT,
    StartSeconds,
    crowded_out,
    gives_way_at,
)
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.limits import Eviction, Limits
from router.scheduler.planner import Plan, plan
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.view import View
from tests.pool.fakes import GIB, spec

NOW = 10_000.0
LIMITS = Limits(budget=10 * GIB, patience=0.0)


def slot(
    name: str,
    state: State,
    *waiting: tuple[int, str | None],
    user: str | None = None,
    used: float = NOW,
    busy: str | None = None,
    **settings: object,
) -> Slot:
    """An engine of 5 GiB. `waiting`: ages and callers. `busy`: a caller with one in flight."""
    made = Slot(spec(name, memory=5 * GIB, **settings), 5 * GIB, state)
    made.user, made.last_used, made.answered, made.started_at = user, used, True, NOW
    made.started_for = user
    made.held, made.loaded = (made.claim, True) if state.claims else (0, False)
    made.turn_since = NOW
    for age, caller in waiting:
        made.queue[age] = Wanted(age, age, made.spec, "", NOW + 100, caller)
    if busy is not None:
        made.since[999] = NOW
        made.leases[999] = Wanted(999, 999, made.spec, "", NOW + 100, busy)
    return made


def view_of(*slots: Slot, starts: StartSeconds | None = None, limits: Limits = LIMITS) -> View:
    index = SlotIndex.of(slots, limits, NOW)
    return View(index, limits, History(), starts or StartSeconds(), NOW, free=(10 * GIB,))


def decide(*slots: Slot, starts: StartSeconds) -> Plan:
    return plan(view_of(*slots, starts=starts))


# --- the seconds of starts -------------------------------------------------------------


def test_a_caller_within_its_allowance_of_start_seconds_is_as_good_as_any_other() -> None:
    starts = StartSeconds()
    starts.charge("x", ALLOWANCE, NOW)
    assert starts.overdraft(["x"], NOW) == 0.0
    starts.charge("x", 30.0, NOW)
    assert starts.overdraft(["x"], NOW) == 30.0
    assert starts.overdraft(["x", "y"], NOW) == 0.0


def test_half_of_the_start_seconds_are_forgotten_in_each_half_life() -> None:
    starts = StartSeconds()
    starts.charge("x", 4 * ALLOWANCE, NOW)
    assert starts.overdraft(["x"], NOW + HALF_LIFE) == ALLOWANCE
    assert starts.overdraft(["x"], NOW + 2 * HALF_LIFE) == 0.0


def test_the_operator_is_charged_nothing() -> None:
    starts = StartSeconds()
    starts.charge(None, 1000.0, NOW)
    assert starts.overdraft([None], NOW) == 0.0
    assert not len(starts)


@given(st.lists(st.tuples(st.floats(0.1, 600.0), st.integers(0, 50)), max_size=200))
def test_no_more_than_a_few_callers_can_be_over_the_allowance_at_once(
    made: list[tuple[float, int]],
) -> None:
    starts, now = StartSeconds(), NOW
    for seconds, caller in made:
        now += seconds  # one engine starts at a time
        starts.charge(str(caller), seconds, now)
        over = sum(starts.overdraft([str(one)], now) > 0 for one in range(51))
        assert over <= 17  # 600 s at once, plus the rest of earlier ones


def test_callers_are_forgotten_some_time_after_their_last_start() -> None:
    starts = StartSeconds()
    for number in range(1000):
        starts.charge(str(number), 60.0, NOW + 60.0 * number)
    assert len(starts) <= 61


# --- which model starts ----------------------------------------------------------------


def test_the_model_of_a_caller_that_is_over_its_allowance_starts_after_the_others() -> None:
    starts = StartSeconds()
    starts.charge("greedy", 2 * ALLOWANCE, NOW)
    mine, other = slot("a", State.FETCHED, (1, "greedy")), slot("b", State.FETCHED, (2, "new"))
    assert decide(mine, other, starts=starts).start is other


def test_a_model_that_another_caller_waits_for_as_well_keeps_its_turn() -> None:
    starts = StartSeconds()
    starts.charge("greedy", 2 * ALLOWANCE, NOW)
    both = slot("a", State.FETCHED, (1, "greedy"), (3, "new"))
    other = slot("b", State.FETCHED, (2, "other"))
    assert decide(both, other, starts=starts).start is both


def test_a_caller_that_is_alone_starts_its_models_in_their_order() -> None:
    starts = StartSeconds()
    starts.charge("x", 10 * ALLOWANCE, NOW)
    first, second = slot("a", State.FETCHED, (1, "x")), slot("b", State.FETCHED, (2, "x"))
    assert decide(second, first, starts=starts).start is first


# --- starts that are abandoned -----------------------------------------------------------


WAITING = slot("w", State.FETCHED, (9, "other"))


def test_a_start_without_requests_gives_way_at_once_and_to_anyone() -> None:
    start = slot("a", State.STARTING, user="other")
    assert gives_way_at(start, [WAITING], LIMITS) == NOW
    assert gives_way_at(start, [], LIMITS) == inf


def test_the_start_of_a_pinned_model_never_gives_way() -> None:
    for start in (
        slot("a", State.STARTING, pinned=True),
        slot("a", State.STARTING, (1, "x"), pinned=True, user="x"),
    ):
        assert gives_way_at(start, [WAITING], LIMITS) == inf


def test_a_contested_start_has_two_minutes_and_the_time_to_read_its_weights() -> None:
    start = slot("a", State.STARTING, (1, "x"), user="x")
    assert gives_way_at(start, [WAITING], LIMITS) == NOW + 120
    start.size = 16_000_000_000
    assert gives_way_at(start, [WAITING], LIMITS) == NOW + 120 + 160
    limits = Limits(budget=10 * GIB, contested_start_timeout=7.0)
    assert gives_way_at(start, [WAITING], limits) == NOW + 7


@pytest.mark.parametrize("case", ["alone", "one caller", "listed"])
def test_a_start_that_is_not_contested_has_all_its_time(case: str) -> None:
    start = slot("a", State.STARTING, (1, "x"), user="x", listed=case == "listed")
    waiting = {"alone": [], "one caller": [slot("b", State.FETCHED, (2, "x"))]}
    assert gives_way_at(start, waiting.get(case, [WAITING]), LIMITS) == inf


def test_the_operators_own_request_contests_a_strangers_start() -> None:
    start = slot("a", State.STARTING, (1, "x"), user="x")
    assert gives_way_at(start, [slot("b", State.FETCHED, (2, None))], LIMITS) < inf


# --- downloads -------------------------------------------------------------------------


def test_downloads_that_no_request_waits_for_go_when_there_are_too_many() -> None:
    recent, old = slot("b", State.FETCHING), slot("c", State.FETCHING)
    recent.linger_until, old.linger_until = NOW + 2, NOW + 1
    assert crowded_out([recent, old], 0) == []
    assert crowded_out([recent, old], 1) == [old]
    assert crowded_out([recent, old], 3) == [old, recent]
    assert crowded_out([], 1) == []


# --- which engine makes room -----------------------------------------------------------


def order(*slots: Slot) -> list[str]:
    ranked = view_of(*slots, limits=replace(LIMITS, eviction=Eviction.LRU)).by_loss(
        one for one in slots if one.state.claims
    )
    return [one.key.repo_id.removeprefix("org/") for one in ranked]


def test_the_caller_with_the_most_engines_makes_room_first() -> None:
    engines = [
        slot("only", State.READY, user="x", used=NOW - 100),
        slot("second", State.READY, user="greedy", used=NOW - 20),
        slot("first", State.READY, user="greedy", used=NOW - 30),
    ]
    assert order(*engines) == ["first", "second", "only"]


def test_for_a_caller_that_is_alone_the_least_recently_used_goes_first() -> None:
    ages = {"a": 700, "b": 299, "c": 200, "d": 100}
    engines = [slot(n, State.READY, user="x", used=NOW - age) for n, age in ages.items()]
    assert order(*reversed(engines)) == list(ages)


def test_an_engine_that_has_not_been_used_for_long_is_nobodys() -> None:
    stale = slot("stale", State.READY, user="x", used=NOW - RECENT)
    mine = [slot(n, State.READY, user="greedy", used=NOW - 10) for n in ("a", "b")]
    assert order(*mine, stale)[0] == "stale"


def test_an_engine_that_several_callers_use_counts_as_one_of_a_caller_with_one() -> None:
    shared = slot("shared", State.READY, user="greedy", used=NOW - 60)
    shared.shared_at = NOW - 90
    mine = [slot(n, State.READY, user="greedy", used=NOW - 10) for n in ("a", "b")]
    assert order(shared, *mine)[-1] == "shared"
    shared.shared_at = NOW - RECENT
    assert order(shared, *mine)[0] == "shared"


def takes(victim: Slot, *others: Slot, caller: str | None = "greedy") -> bool:
    wanted = slot("wanted", State.FETCHED, (1, caller))
    return view_of(wanted, victim, *others).holdings.may_take(wanted, victim)


def test_a_caller_with_an_engine_of_its_own_takes_none_from_a_caller_with_no_more() -> None:
    mine, busy = (slot(n, State.READY, user="greedy") for n in ("mine", "busy"))
    other, third = (slot(n, State.READY, user="x", used=NOW - 20) for n in ("other", "third"))
    assert takes(mine, other)
    assert not takes(other, mine)
    assert takes(other, mine, third)  # the other caller has more
    assert not takes(other, mine, third, busy)
    other.shared_at = NOW - 90
    assert not takes(other, mine)


def test_no_callers_only_engine_goes_for_a_caller_with_one_because_it_is_idle() -> None:
    mine = slot("mine", State.READY, user="greedy", busy="greedy")
    theirs = slot("theirs", State.READY, user="x")
    wanted = slot("wanted", State.FETCHED, (1, "greedy"))
    decided = decide(mine, theirs, wanted, starts=StartSeconds())
    assert (decided.evict, decided.drain) == (None, (mine,))
    theirs.user = None  # the operator's
    assert decide(mine, theirs, wanted, starts=StartSeconds()).evict is theirs


def test_others_engines_make_room_where_a_callers_own_can_not() -> None:
    other = slot("other", State.READY, user="x", used=NOW - 20)
    assert takes(other)
    small = slot("small", State.READY, user="greedy")
    small.claim = small.held = 4 * GIB
    assert takes(other, small)
    pinned = slot("pinned", State.READY, user="greedy", pinned=True)
    assert takes(other, pinned)


def test_what_nobody_uses_makes_room_for_anyone_and_the_operator_takes_any() -> None:
    mine = slot("mine", State.READY, user="greedy")
    assert takes(slot("stale", State.READY, user="x", used=NOW - RECENT), mine)
    assert takes(slot("preloaded", State.READY), mine)
    other = slot("other", State.READY, user="x")
    assert takes(other, slot("own", State.READY), caller=None)


def test_engines_that_are_busy_or_starting_count_for_their_callers() -> None:
    mine = slot("mine", State.READY, user="greedy", used=NOW - 10)
    other = slot("other", State.READY, user="x", used=NOW - 20)
    assert order(mine, other)[0] == "other"
    starting = slot("starting", State.STARTING, (1, "greedy"), user="greedy", used=0.0)
    assert order(mine, other, starting)[-1] == "other"
    busy = slot("busy", State.READY, user="greedy", used=0.0, busy="greedy")
    assert order(mine, other, busy)[-1] == "other"


def test_an_engine_drains_for_a_request_whose_turn_comes_before_those_that_wait_for_it() -> (
    None
):
    """Otherwise, it would start again instead of the model that it made room for."""
    starts = StartSeconds()
    starts.charge("greedy", 2 * ALLOWANCE, NOW)

    def drains(theirs: tuple[int, str], mine: tuple[int, str]) -> bool:
        victim = slot("v", State.READY, theirs, busy="x")
        rest = slot("x", State.READY, pinned=True)
        waiting = slot("a", State.FETCHED, mine)
        return decide(victim, rest, waiting, starts=starts).drain == (victim,)

    assert drains((2, "x"), (1, "new"))
    assert not drains((1, "x"), (2, "new"))
    assert drains((1, "greedy"), (2, "new"))
    assert not drains((2, "x"), (1, "greedy"))


def test_of_callers_that_started_much_the_one_that_started_least_goes_first() -> None:
    starts = StartSeconds()
    starts.charge("most", 3 * ALLOWANCE, NOW)
    starts.charge("much", 2 * ALLOWANCE, NOW)
    oldest = slot("oldest", State.FETCHED, (1, "most"))
    older = slot("older", State.FETCHED, (2, "much"))
    youngest = slot("youngest", State.FETCHED, (3, "little"))
    view = view_of(oldest, older, youngest, starts=starts)
    assert list(view.in_turn()) == [youngest, older, oldest]


def test_the_engine_that_a_caller_waits_for_counts_as_one_that_it_holds() -> None:
    mine = slot("mine", State.READY, user="greedy", used=NOW - 10)
    other = slot("other", State.READY, user="x", used=NOW - 20)
    assert order(mine, other, slot("more", State.FETCHED, (1, "greedy")))[0] == "mine"
