from __future__ import annotations

from collections import Counter
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from router.scheduler.events import Wanted
from router.scheduler.waiting import Line, QueuePlaces
from tests.pool.fakes import spec
from tests.steps import lines_of

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


def test_a_change_of_the_queue_costs_the_same_however_many_wait() -> None:
    def cost(waiting: int) -> int:
        places = QueuePlaces()
        line = line_of(*map(wanted, range(waiting)), wanted(10**6, "y"), places=places)

        def change() -> None:
            line[10**7] = wanted(10**7)
            places.given_up_for("z")
            _ = line.next_deadline
            del line[10**7]

        return lines_of(change)

    assert cost(10_000) == cost(100)
