from __future__ import annotations

from math import inf
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.scheduler.actions import Allotment
from router.scheduler.events import Wanted
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.slot_index import FORMER, SlotIndex
from router.scheduler.standby import Standby
from router.scheduler.state import Slot
from tests.pool.fakes import GIB, spec

LIMITS = Limits(budget=100 * GIB)
NAMES = "abcdef"


def slot(name: str = "a", state: State = State.FETCHED, waits: int | None = None) -> Slot:
    made = Slot(spec(name), GIB, state)
    made.snapshot = Path("/s")
    if waits is not None:
        made.queue[waits] = Wanted(waits, waits, made.spec, "", 1000.0 + waits, "x")
    return made


def moved(index: SlotIndex, one: Slot, *states: State) -> None:
    for state in states:
        one.state = state
        index.file(one, 0.0)


def test_a_slot_that_changed_and_was_not_filed_is_a_difference() -> None:
    one = slot(waits=1)
    index = SlotIndex.of([one], LIMITS, 0.0)
    assert not [*index.differences(0.0)]
    one.state, one.held = State.STARTING, GIB
    assert len([*index.differences(0.0)]) >= 3  # two states, and the bytes
    index.file(one, 0.0)
    assert not [*index.differences(0.0)]


def test_the_line_has_the_models_that_only_room_is_missing_for_the_oldest_turn_first() -> None:
    late, early, ready = slot("a", waits=5), slot("b", waits=3), slot("c", State.READY, 1)
    asleep, kept = slot("d", State.ASLEEP, 4), slot("e", waits=9)
    kept.turn = 2
    index = SlotIndex.of([late, early, ready, asleep, kept], LIMITS, 0.0)
    assert [*index.line] == [kept, early, asleep, late]
    del early.queue[3]
    index.file(early, 0.0)
    assert [*index.line] == [kept, asleep, late]


def test_the_latest_engines_that_were_stopped_are_former_ones_until_they_start_again() -> None:
    slots = [slot(str(number), State.STOPPING) for number in range(FORMER + 1)]
    index = SlotIndex.of(slots, LIMITS, 0.0)
    for one in slots:
        moved(index, one, State.FETCHED)
    assert [*index.former.values()] == slots[1:]
    moved(index, slots[1], State.STARTING)
    assert slots[1] not in index.former.values()
    index.forget(slots[2])
    assert slots[2] not in index.former.values()


def test_a_model_that_was_downloaded_and_never_started_is_no_former_one() -> None:
    one = slot(state=State.FETCHING)
    index = SlotIndex.of([one], LIMITS, 0.0)
    moved(index, one, State.FETCHED)
    assert not index.former


def test_what_is_due_is_handed_out_once() -> None:
    one, other = slot("a", waits=1), slot("b", waits=50)
    index = SlotIndex.of([one, other], LIMITS, 0.0)
    assert index.next_due() == 1001.0
    assert index.due(1000.0) == []
    assert index.due(1010.0) == [one]
    assert index.due(1010.0) == []
    assert index.next_due() == 1050.0


def test_a_slot_that_is_no_longer_due_is_not_handed_out() -> None:
    one = slot(waits=1)
    index = SlotIndex.of([one], LIMITS, 0.0)
    del one.queue[1]
    index.file(one, 0.0)
    assert index.next_due() == inf
    assert index.due(2000.0) == []


def test_a_busy_engine_stays_filed_for_an_earlier_time_and_is_found_not_to_be_due_then() -> (
    None
):
    one = slot(state=State.READY)
    one.spec = spec(idle_ttl=100.0)
    index = SlotIndex.of([one], LIMITS, 0.0)
    one.last_used = 60.0
    assert index.note_use(one, 60.0) == 160.0
    assert index.next_due() == 100.0, "nothing was filed anew"
    assert index.due(100.0) == [one]
    index.file(one, 100.0)
    assert index.next_due() == 160.0


def test_an_engine_that_is_due_earlier_than_before_is_filed_for_that_time() -> None:
    one = slot(state=State.READY)
    index = SlotIndex.of([one], LIMITS, 0.0)
    assert index.next_due() == inf
    one.leases[1] = Wanted(1, 1, one.spec, "", 1000.0, "x")
    one.last_progress = 50.0
    assert index.note_use(one, 50.0) == index.next_due() == 50.0 + LIMITS.stall_timeout


class Filing(RuleBasedStateMachine):
    """Makes any changes and files each. The indices must equal those of a new index."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SlotIndex(LIMITS)
        self.slots: dict[str, Slot] = {}
        self.now = 0.0
        self.number = 0

    @rule(name=st.sampled_from(NAMES), state=st.sampled_from(State), pinned=st.booleans())
    def change_state(self, name: str, state: State, *, pinned: bool) -> None:
        one = self.slots.setdefault(name, slot(name))
        one.state = state
        one.held, one.loaded = (GIB, state is not State.ASLEEP) if state.claims else (0, False)
        one.spec = spec(name, pinned=pinned)
        if state is not State.FETCHED:
            one.standby = None
        self.index.file(one, self.now)

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), caller=st.sampled_from([None, "x", "y"]), patience=st.floats(0, 50))
    def enqueue(self, data: st.DataObject, caller: str | None, patience: float) -> None:
        one = self._any(data)
        self.number += 1
        deadline = self.now + patience
        one.queue[self.number] = Wanted(
            self.number, self.number, one.spec, "", deadline, caller
        )
        if data.draw(st.booleans()):
            one.turn = data.draw(st.integers(1, self.number))
        self.index.file(one, self.now)

    @precondition(lambda self: any(one.queue for one in self.slots.values()))
    @rule(data=st.data())
    def dequeue(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([one for one in self.slots.values() if one.queue]))
        del one.queue[data.draw(st.sampled_from([*one.queue]))]
        self.index.file(one, self.now)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def prestart(self, data: st.DataObject) -> None:
        one = self._any(data)
        if one.state is State.FETCHED:
            one.standby = Standby(1, Allotment(0, 0, whole=False), self.now)
            self.index.file(one, self.now)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        one = self._any(data)
        if one.state in (State.COLD, State.FETCHED) and one.forgettable(self.now):
            self.index.forget(one)
            self.slots = {name: left for name, left in self.slots.items() if left is not one}

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        expected = [one for one in self.slots.values() if self._due(one) <= self.now]
        due = self.index.due(self.now)
        assert set(due) == set(expected)
        for one in due:
            for waiter in one.queue.overdue(self.now):
                del one.queue[waiter]
            self.index.file(one, self.now)

    @invariant()
    def nothing_differs(self) -> None:
        assert not [*self.index.differences(self.now)]
        line = [one for one in self.slots.values() if one.queue and one.startable]
        assert [one.age for one in self.index.line] == sorted(one.age for one in line)
        dues = (self._due(one) for one in self.slots.values())
        assert self.index.next_due() == min(dues, default=inf)

    def _any(self, data: st.DataObject) -> Slot:
        return data.draw(st.sampled_from([*self.slots.values()]))

    def _due(self, one: Slot) -> float:
        """The next deadline. There are no stalls, trials or drains here: only a request's
        deadline, or the time to forget."""
        if one.queue:
            return min(request.deadline for request in one.queue.values())
        return one.forgettable_at if one.state is State.COLD else inf


Filing.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestFiling = Filing.TestCase
