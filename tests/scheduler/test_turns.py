"""The order of turns at one engine."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.scheduler.events import Wanted
from router.scheduler.turns import TurnOrder
from router.scheduler.waiting import Caller, Line
from tests.scheduler.test_waiting import CALLERS, line_of, wanted
from tests.steps import lines_of


def granted(
    line: Line,
    *in_flight: Wanted,
    places: int,
    most: int | None = None,
    turns: TurnOrder | None = None,
) -> list[int]:
    """The waiters that get the free places, in order."""
    turns = turns or TurnOrder(line, {request.waiter: request for request in in_flight})
    order: list[int] = []
    while len(order) < places and (request := turns.next(most)):
        del line[request.waiter]
        turns.took(request.caller)
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
    """Each caller has none in flight when the place becomes free."""
    greedy = [wanted(number, "greedy") for number in range(8)]
    line = line_of(*greedy, wanted(20, "b"), wanted(21, "c"), wanted(22, "b"))
    turns = TurnOrder(line, {})
    turns.begin("greedy")
    order = []
    for _ in range(6):
        order += granted(line, places=1, turns=turns)
        turns.ended({20: "b", 21: "c", 22: "b"}.get(order[-1], "greedy"))
    assert order == [20, 21, 0, 22, 1, 2]


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


def test_a_queue_that_never_gets_empty_remembers_few_of_the_callers_that_were_in_it() -> None:
    patient = [wanted(number, "patient") for number in range(100_000, 110_000)]
    line = line_of(*patient)
    turns = TurnOrder(line, {})
    turns.begin("patient")
    for number in range(20_000):
        request = wanted(number, f"passing {number}")
        line[number] = request
        turns.comes(request)
        if granted(line, places=1, turns=turns) == [number]:
            turns.ended(request.caller)
        else:
            turns.ended("patient")
    assert "patient" in turns._last
    assert len(turns._last) < 1_000
    assert len(turns._held) < 1_000


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


class Engine(RuleBasedStateMachine):
    """Any events at an engine: the turn always follows the plain rule."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.leases: dict[int, Wanted] = {}
        self.turns = TurnOrder(self.line, self.leases)
        self.last: dict[Caller, int] = {}
        self.count = self.number = 0

    @rule(caller=CALLERS, back=st.integers(0, 6))
    def comes(self, caller: Caller, back: int) -> None:
        """`back`: how much older it is than it looks, like a retried request."""
        self.number += 1
        request = wanted(10 * self.number, caller, 10 * (self.number - back) - bool(back))
        if request.age in {one.age for one in (*self.line.values(), *self.leases.values())}:
            return
        if not self.line:
            self.turns.begin("x")
            self.count += 1
            self.last = {"x": self.count}
        self.line[request.waiter] = request
        self.turns.comes(request)

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        del self.line[data.draw(st.sampled_from([*self.line]))]

    @precondition(lambda self: self.line)
    @rule(places=st.integers(1, 3))
    def is_granted(self, places: int) -> None:
        for _ in range(places):
            if (request := self.turns.next(None)) is None:
                return
            assert request is self.simple(None)
            del self.line[request.waiter]
            self.turns.took(request.caller)
            self.count += 1
            self.last[request.caller] = self.count
            self.leases[request.waiter] = request

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        request = self.leases.pop(data.draw(st.sampled_from([*self.leases])))
        if self.line:
            self.turns.ended(request.caller)

    @rule()
    def stops(self) -> None:
        self.leases.clear()
        self.turns.forget()

    @invariant()
    def it_is_the_same_turn(self) -> None:
        for most in (None, 1, 2):
            assert self.turns.next(most) is self.simple(most)
        assert not self.turns.differs()

    def simple(self, most: int | None) -> Wanted | None:
        """The plain rule: look at all waiters."""
        held = Counter(one.caller for one in self.leases.values())
        found = min(
            self.line.values(),
            key=lambda one: (held[one.caller], self.last.get(one.caller, 0), one.age),
            default=None,
        )
        return None if found and most is not None and held[found.caller] >= most else found


Engine.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestEngine = Engine.TestCase


def test_a_turn_costs_the_same_however_many_callers_wait() -> None:
    def cost(callers: int) -> int:
        line = line_of(*(wanted(number, str(number)) for number in range(callers)))
        turns = TurnOrder(line, {})
        turns.next(None)

        def change() -> None:
            request = turns.next(None)
            assert request is not None
            del line[request.waiter]
            turns.took(request.caller)
            turns.ended(request.caller)
            line[10**7] = wanted(10**7, "new")
            turns.comes(line[10**7])

        return lines_of(change)

    assert cost(10_000) == cost(100)


def test_entries_that_are_out_of_date_are_bounded() -> None:
    line = line_of(wanted(1, "a"), wanted(2, "b"))
    turns = TurnOrder(line, {})
    turns.next(None)
    for number in range(10, 1000):
        line[number] = wanted(number, "c")
        turns.comes(line[number])
        del line[number]
    assert len(turns._heap) < 100
