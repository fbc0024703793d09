from __future__ import annotations

import pytest

from router.errors import ModelTooLarge, NoRoom
from router.scheduler.events import Wanted
from router.scheduler.fairness import StartSeconds
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.planner import Plan, plan
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.view import View
from tests.pool.fakes import GIB, spec
from tests.steps import lines_of

NOW = 1000.0
LIMITS = Limits(budget=10 * GIB, patience=0.0)


def slot(
    name: str,
    state: State,
    gib: int = 5,
    *,
    used: float = 0.0,
    waits: int | None = None,
    busy: bool = False,
    pinned: bool = False,
    ready_at: float = 0.0,
    answered: bool = True,
) -> Slot:
    """An engine. `waits`: the age of its oldest waiter."""
    made = Slot(spec(name, memory=gib * GIB, pinned=pinned), gib * GIB, state)
    made.last_used, made.ready_at, made.answered = used, ready_at, answered
    made.held, made.loaded = (made.claim, True) if state.claims else (0, False)
    made.turn_since = NOW
    if waits is not None:
        made.queue[waits] = Wanted(waits, waits, made.spec, "", NOW + 100)
    if busy:
        made.since[999] = NOW
        made.leases[999] = Wanted(999, 999, made.spec, "", NOW + 100)
    return made


def decide(*slots: Slot, limits: Limits = LIMITS, free: int | None = 10 * GIB) -> Plan:
    index = SlotIndex.of(slots, limits, NOW)
    each = None if free is None else (free,) * limits.devices
    return plan(View(index, limits, History(), StartSeconds(), NOW, free=each))


def test_the_model_with_the_oldest_request_starts_first() -> None:
    late, early = slot("a", State.FETCHED, waits=2), slot("b", State.FETCHED, waits=1)
    assert decide(late, early).start is early


def test_a_start_is_decided_on_measured_memory_only() -> None:
    waiting = slot("a", State.FETCHED, waits=1)
    assert decide(waiting, free=None).measure
    assert decide(waiting, free=None).start is None
    assert decide(waiting, free=4 * GIB).start is None
    assert decide(waiting, free=5 * GIB).start is waiting


@pytest.mark.parametrize("loading", [State.STARTING, State.STOPPING])
def test_no_engine_starts_or_stops_while_another_takes_or_frees_memory(loading: State) -> None:
    other = slot("x", loading, 3)
    idle = slot("y", State.READY, 5)
    fitting, large = slot("a", State.FETCHED, 2, waits=1), slot("b", State.FETCHED, waits=2)
    decided = decide(other, idle, fitting, large)
    assert (decided.start, decided.evict, decided.measure) == (None, None, False)


def test_idle_engines_are_evicted_before_busy_ones_drain_the_least_recently_used_first() -> (
    None
):
    busy = slot("x", State.READY, 3, used=1, busy=True)
    recent = slot("y", State.READY, 3, used=3)
    stale = slot("z", State.READY, 3, used=2)
    decided = decide(busy, recent, stale, slot("a", State.FETCHED, 4, waits=1))
    assert decided.evict is stale
    assert decided.drain == ()


def test_no_more_engines_are_evicted_than_necessary() -> None:
    small = slot("x", State.READY, 1, used=1)
    large = slot("y", State.READY, 8, used=2)
    assert decide(small, large, slot("a", State.FETCHED, 10, waits=1)).evict is small
    assert decide(small, large, slot("a", State.FETCHED, 8, waits=1)).evict is large


def test_pinned_engines_stay_even_if_they_are_the_least_recently_used() -> None:
    pinned = slot("x", State.READY, 4, used=1, pinned=True)
    other = slot("y", State.READY, 4, used=2)
    assert decide(pinned, other, slot("a", State.FETCHED, 4, waits=1)).evict is other


def test_a_model_that_needs_the_memory_of_a_pinned_engine_is_refused() -> None:
    pinned = slot("x", State.READY, 6, pinned=True)
    waiting = slot("a", State.FETCHED, 5, waits=1)
    ((refused, error),) = decide(pinned, waiting).reject
    assert refused is waiting
    assert isinstance(error, NoRoom)


def test_a_model_larger_than_the_budget_is_refused_and_delays_no_other() -> None:
    giant, fitting = slot("a", State.FETCHED, 11, waits=1), slot("b", State.FETCHED, waits=2)
    decided = decide(giant, fitting)
    assert [type(error) for _, error in decided.reject] == [ModelTooLarge]
    assert decided.start is fitting


def test_busy_engines_drain_only_for_the_first_model_in_the_queue() -> None:
    first = slot("x", State.READY, 5, used=1, busy=True)
    second = slot("y", State.READY, 5, used=2, busy=True)
    head, behind = slot("a", State.FETCHED, waits=1), slot("b", State.FETCHED, waits=2)
    assert decide(first, second, head, behind).drain == (first,)


def test_an_engine_does_not_drain_for_a_request_younger_than_its_own() -> None:
    serving = slot("x", State.READY, 10, busy=True, waits=1)
    assert decide(serving, slot("a", State.FETCHED, waits=2)).drain == ()
    assert decide(serving, slot("a", State.FETCHED, waits=0)).drain == (serving,)


def test_no_drain_begins_while_another_engine_starts() -> None:
    loading = slot("z", State.STARTING, 5)
    busy = slot("x", State.READY, 5, busy=True)
    draining = slot("y", State.DRAINING, 5, busy=True)
    waiting = slot("a", State.FETCHED, waits=1)
    assert decide(loading, busy, waiting).drain == ()
    assert decide(loading, draining, waiting).drain == (draining,)


def test_a_drain_continues_rather_than_another_one_beginning() -> None:
    draining = slot("x", State.DRAINING, 5, used=9, busy=True)
    busy = slot("y", State.READY, 5, used=1, busy=True)
    assert decide(draining, busy, slot("a", State.FETCHED, waits=1)).drain == (draining,)


def test_memory_freed_for_the_first_model_is_not_given_to_those_behind() -> None:
    draining = slot("x", State.DRAINING, 8, busy=True)
    head = slot("a", State.FETCHED, 10, waits=1)
    behind = slot("b", State.FETCHED, 2, waits=2)
    assert decide(draining, head, behind).start is None


def test_memory_that_the_first_model_can_not_use_is_given_to_those_behind() -> None:
    draining = slot("x", State.DRAINING, 8, busy=True)
    head = slot("a", State.FETCHED, 8, waits=1)
    behind = slot("b", State.FETCHED, 2, waits=2)
    assert decide(draining, head, behind).start is behind


def test_an_engine_in_use_stays_until_its_pace_and_others_may_use_what_is_free() -> None:
    limits = Limits(budget=10 * GIB, patience=100.0)
    popular = slot("x", State.READY, 8)
    popular.demand.last, popular.demand.gap = NOW, 5.0
    head, behind = slot("a", State.FETCHED, 4, waits=1), slot("b", State.FETCHED, 2, waits=2)
    decided = decide(popular, head, limits=limits)
    assert decided.evict is None
    assert NOW < decided.wake_at < NOW + 100.0
    assert decide(popular, head, behind, limits=limits).start is behind


def test_an_engine_that_came_up_for_callers_that_have_left_goes_at_once() -> None:
    unneeded = slot("x", State.READY, 10, ready_at=NOW - 10, answered=False)
    limits = Limits(budget=10 * GIB, patience=100.0)
    assert decide(unneeded, slot("a", State.FETCHED, waits=1), limits=limits).evict is unneeded


def test_max_loaded_limits_engines_of_any_size() -> None:
    limits = Limits(budget=10 * GIB, max_loaded=1, patience=0.0)
    idle = slot("x", State.READY, 1)
    assert decide(idle, slot("a", State.FETCHED, 1, waits=1), limits=limits).evict is idle


def test_an_engine_that_cools_down_does_not_start() -> None:
    cooling = slot("a", State.FETCHED, waits=1)
    cooling.retry_at = NOW + 1
    assert decide(cooling).start is None
    cooling.retry_at = NOW
    assert decide(cooling).start is cooling


def test_an_idle_engine_expires_and_a_busy_or_pinned_one_does_not() -> None:
    def resident(name: str, **how: bool) -> Slot:
        made = Slot(spec(name, memory=GIB, idle_ttl=30.0, **how), GIB, State.READY)
        made.last_used = NOW - 30
        return made

    idle, busy, pinned = resident("x"), resident("y"), resident("z", pinned=True)
    busy.leases[1] = Wanted(1, 1, busy.spec, "", NOW)
    assert decide(busy, pinned, idle).expire is idle
    assert decide(busy, pinned).expire is None
    assert decide(idle, slot("w", State.STOPPING, 1)).expire is None


# --- sleep -----------------------------------------------------------------------------

HOST = 8 * GIB
SLEEPING = Limits(budget=10 * GIB, patience=0.0, sleep_memory=HOST)


def sleepy(name: str, state: State, *, gib: int = 4, gap: float = 10.0) -> Slot:
    """An engine that can sleep, with weights of `gib`. Asleep, it holds little."""
    made = slot(name, state, gib)
    made.size, made.sleeps = gib * GIB, True
    made.demand.last, made.demand.gap = NOW, gap
    if state is State.ASLEEP:
        made.held, made.loaded = GIB // 4, False
    return made


def making_room(*slots: Slot) -> Plan:
    """The plan for a model that needs the whole device except what sleepers hold."""
    return decide(*slots, slot("wanted", State.FETCHED, 9, waits=1), limits=SLEEPING)


def test_an_evicted_engine_sleeps_while_the_hosts_memory_has_room_for_its_weights() -> None:
    victim = sleepy("v", State.READY)
    assert (making_room(victim).evict, making_room(victim).sleep) == (victim, True)
    other = sleepy("a", State.ASLEEP)
    decided = making_room(victim, other)
    assert (decided.evict, decided.sleep) == (victim, True)
    large = sleepy("l", State.READY, gib=9)
    assert (making_room(large).evict, making_room(large).sleep) == (large, False)


def test_where_the_hosts_memory_is_full_the_sleeper_that_is_wanted_least_ends_first() -> None:
    victim = sleepy("v", State.READY, gap=10.0)
    rare, often = sleepy("r", State.ASLEEP, gap=60.0), sleepy("o", State.ASLEEP, gap=1.0)
    decided = making_room(victim, rare, often)
    assert (decided.evict, decided.sleep) == (rare, False)


def test_an_engine_stops_where_all_sleepers_are_wanted_more() -> None:
    victim = sleepy("v", State.READY, gap=60.0)
    others = [sleepy(name, State.ASLEEP, gap=1.0) for name in "ab"]
    decided = making_room(victim, *others)
    assert (decided.evict, decided.sleep) == (victim, False)


def test_no_sleeper_ends_where_that_would_not_be_enough() -> None:
    victim = sleepy("v", State.READY, gib=6, gap=10.0)
    rare, often = sleepy("r", State.ASLEEP, gap=60.0), sleepy("o", State.ASLEEP, gap=0.1)
    decided = making_room(victim, rare, often)
    assert (decided.evict, decided.sleep) == (victim, False)


def test_a_sleeper_that_is_to_wake_makes_no_room_in_the_hosts_memory() -> None:
    victim = sleepy("v", State.READY, gap=10.0)
    sleepers = [sleepy(name, State.ASLEEP, gap=60.0) for name in "ab"]
    for number, one in enumerate(sleepers):
        one.queue[number + 5] = Wanted(number + 5, number + 5, one.spec, "", NOW + 100)
    decided = making_room(victim, *sleepers)
    assert (decided.evict, decided.sleep) == (victim, False)


def test_an_engine_that_can_not_sleep_stops() -> None:
    victim = sleepy("v", State.READY)
    victim.sleeps = False
    assert (making_room(victim).evict, making_room(victim).sleep) == (victim, False)


@pytest.mark.parametrize("pinned", [True, False], ids=["without room", "with one at a time"])
def test_a_plan_takes_linear_time_however_many_models_wait(*, pinned: bool) -> None:
    def cost(waiting: int) -> int:
        models = (slot(str(n), State.FETCHED, waits=n) for n in range(waiting))
        slots = (slot("held", State.READY, 10, busy=True, pinned=pinned), *models)
        return lines_of(lambda: decide(*slots))

    assert cost(400) < 5 * cost(100)
