from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from router.scheduler.events import Wanted
from router.scheduler.fairness import turns
from router.scheduler.waiting import Line, QueuePlaces, Rounds
from tests.pool.fakes import spec

A = spec("a")
CALLERS = st.sampled_from([None, "", "x", "y"])


def wanted(
    waiter: int, caller: str | None = "x", age: int | None = None, deadline: float = 100.0
) -> Wanted:
    return Wanted(waiter, waiter if age is None else age, A, "", deadline, caller)


def line_of(*requests: Wanted, places: QueuePlaces | None = None) -> Line:
    line = Line(places)
    for request in requests:
        line[request.waiter] = request
    return line


def granted(
    line: Line,
    *in_flight: Wanted,
    places: int,
    most: int | None = None,
    rounds: Rounds | None = None,
) -> list[int]:
    """The waiters that get the free places, in order."""
    order: list[int] = []
    for request in turns(line, in_flight, most, rounds or Rounds()):
        if len(order) == places:
            break
        del line[request.waiter]
        order.append(request.waiter)
    return order


# --- places in flight ------------------------------------------------------------------


def test_a_free_place_goes_to_the_caller_with_the_fewest_requests_in_flight() -> None:
    waiting = [wanted(number, "greedy") for number in range(3, 23)]
    line = line_of(*waiting, wanted(50, "other"))
    assert granted(line, wanted(1, "greedy"), places=2) == [50, 3]


def test_callers_with_as_many_in_flight_are_served_by_age() -> None:
    line = line_of(wanted(3, "a"), wanted(4, "b"), wanted(5, "c"))
    held = [wanted(1, "a"), wanted(2, "b")]
    assert granted(line, *held, places=9) == [5, 3, 4]


def test_places_are_dealt_by_what_each_caller_has_by_then() -> None:
    greedy = [wanted(number, "greedy") for number in range(3)]
    line = line_of(*greedy, wanted(20, "b"))
    assert granted(line, wanted(9, "b"), places=3) == [0, 20, 1]


def test_one_place_goes_round_the_callers_whatever_their_backlogs_are() -> None:
    """Each has none in flight when it becomes free."""
    greedy = [wanted(number, "greedy") for number in range(8)]
    line = line_of(*greedy, wanted(20, "b"), wanted(21, "c"), wanted(22, "b"))
    rounds = Rounds()
    rounds.begin("greedy")
    order = [granted(line, places=1, rounds=rounds)[0] for _ in range(6)]
    assert order == [20, 21, 0, 22, 1, 2]


def test_a_request_that_is_passed_over_is_no_turn_of_its_caller() -> None:
    line, rounds = line_of(wanted(1, "a"), wanted(2, "b")), Rounds()
    for _ in turns(line, (), None, rounds):
        pass
    assert (rounds.last("a"), rounds.last("b")) == (0, 0)


def test_a_caller_that_is_alone_gets_all_places() -> None:
    assert granted(line_of(*map(wanted, range(10))), places=9) == list(range(9))


def test_many_places_that_become_free_at_once_are_dealt_in_turn() -> None:
    greedy = [wanted(number, "greedy") for number in range(10)]
    line = line_of(*greedy, wanted(20, "b"), wanted(21, "b"), wanted(22, "c"))
    assert granted(line, places=6) == [0, 20, 22, 1, 21, 2]


def test_a_request_that_is_tried_again_is_the_oldest_of_its_caller_and_of_no_other() -> None:
    line = line_of(wanted(3, "a"), wanted(4, "b"), wanted(9, "a", age=1))
    assert granted(line, wanted(2, "a"), places=3) == [4, 9, 3]


def test_no_caller_gets_more_places_than_it_may_have() -> None:
    line = line_of(*(wanted(number, "a") for number in range(5)), wanted(9, "b"))
    assert granted(line, places=9, most=2) == [0, 9, 1]
    assert granted(line, wanted(0, "a"), wanted(1, "a"), places=9, most=2) == []


def test_a_caller_that_is_passed_over_does_not_hold_up_the_others() -> None:
    line = line_of(wanted(1, "a"), wanted(2, "b"), wanted(3, "b"))
    seen = []
    for request in turns(line, (), None, Rounds()):
        seen.append(request.waiter)
        if request.caller != "a":
            del line[request.waiter]
    assert seen == [1, 2, 3]


@given(st.lists(CALLERS, max_size=30), st.lists(CALLERS, max_size=8), st.integers(1, 8))
def test_no_caller_is_ever_more_than_one_place_ahead_of_one_that_waits(
    waiting: list[str | None], holding: list[str | None], places: int
) -> None:
    held = [wanted(number, caller) for number, caller in enumerate(holding)]
    line = line_of(*(wanted(100 + number, caller) for number, caller in enumerate(waiting)))
    callers = {waiter: request.caller for waiter, request in line.items()}
    counts = Counter(holding)
    for waiter in granted(line, *held, places=places):
        counts[callers[waiter]] += 1
        for other in line.values():
            had = counts[callers[waiter]] - 1
            assert had <= counts[other.caller] or callers[waiter] == other.caller


# --- places in the queue ---------------------------------------------------------------


def test_the_caller_with_the_most_gives_up_its_newest_place() -> None:
    places = QueuePlaces()
    line_of(*(wanted(number, "greedy") for number in range(5)), places=places)
    line_of(wanted(7, "other"), wanted(8, "greedy"), wanted(9, "other"), places=places)
    last = places.given_up_for("new")
    assert last is not None
    assert last.waiter == 8


def test_no_place_is_given_up_for_a_caller_that_would_have_as_many() -> None:
    places = QueuePlaces()
    line_of(*(wanted(number, "a") for number in range(3)), places=places)
    line_of(wanted(8, "b"), wanted(9, "b"), places=places)
    assert places.given_up_for("a") is None
    assert places.given_up_for("b") is None
    assert places.given_up_for("c") is not None


def test_the_operators_requests_and_those_tried_again_give_up_no_place() -> None:
    places = QueuePlaces()
    line_of(*(wanted(number, None) for number in range(5)), places=places)
    assert places.given_up_for("x") is None
    line_of(*(wanted(number, "a", age=number - 10) for number in range(10, 13)), places=places)
    assert places.given_up_for("x") is None


def test_the_operator_is_given_a_place_as_any_other_caller() -> None:
    places = QueuePlaces()
    line_of(wanted(1, "a"), wanted(2, "a"), places=places)
    assert places.given_up_for(None) is not None


@given(st.lists(st.tuples(st.booleans(), CALLERS), max_size=60))
def test_places_know_who_has_the_most_whoever_comes_and_leaves(
    steps: list[tuple[bool, str | None]],
) -> None:
    places, waiting = QueuePlaces(), list[Wanted]()
    for number, (comes, caller) in enumerate(steps):
        mine = [request for request in waiting if request.caller == caller]
        if comes:
            waiting.append(wanted(number, caller))
            places.add(waiting[-1])
        elif mine:
            waiting.remove(mine[0])
            places.remove(mine[0])
        counts = Counter(request.caller for request in waiting)
        assert places.taken == len(waiting)
        assert all(places.of(one) == counts[one] for one in (None, "", "x", "y"))
        del counts[None]
        given_up = places.given_up_for("newcomer")
        most = max(counts.values(), default=0)
        assert (given_up is None) == (most < 2)
        if given_up is not None:
            assert counts[given_up.caller] == most
            assert given_up == [r for r in waiting if r.caller == given_up.caller][-1]


# --- deadlines -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_a_line_knows_its_next_deadline(steps: list[tuple[bool, int]]) -> None:
    line = Line()
    for number, (comes, value) in enumerate(steps):
        if comes:
            line[number] = wanted(number, deadline=float(value))
        elif line:
            del line[sorted(line)[value % len(line)]]
        deadlines = [request.deadline for request in line.values()]
        assert line.next_deadline == min(deadlines, default=inf)
        assert line.overdue(5.0) == [w for w, r in line.items() if r.deadline <= 5.0]


def test_a_line_forgets_the_deadlines_of_those_that_left() -> None:
    line = line_of(wanted(0, deadline=0.0))
    for number in range(1, 1000):
        line[number] = wanted(number)
        del line[number]
    assert len(line._deadlines) < 10


# --- time ------------------------------------------------------------------------------


def steps_of(work: Callable[[], object]) -> int:
    """Lines of Python that `work` executes: a time that no other process disturbs."""
    count = 0

    def trace(*_: object) -> object:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_change_of_the_queue_costs_the_same_however_many_wait() -> None:
    def cost(waiting: int) -> int:
        places = QueuePlaces()
        line = line_of(*map(wanted, range(waiting)), wanted(10**6, "y"), places=places)

        def change() -> None:
            line[10**7] = wanted(10**7)
            places.given_up_for("z")
            _ = line.next_deadline
            del line[10**7]

        return steps_of(change)

    assert cost(10_000) == cost(100)
