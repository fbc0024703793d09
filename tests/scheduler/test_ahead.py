from __future__ import annotations

from pathlib import Path

from router.scheduler.actions import Allotment
from router.scheduler.ahead import WANTED_WITHIN, prestarts
from router.scheduler.events import Wanted
from router.scheduler.fairness import StartSeconds
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.planner import Plan
from router.scheduler.slot_index import SlotIndex
from router.scheduler.standby import Standby
from router.scheduler.state import Slot
from router.scheduler.view import View
from tests.pool.fakes import GIB, spec

NOW = 10_000.0


def model(name: str, *, waits: int | None = None, gap: float | None = None) -> Slot:
    made = Slot(spec(name), GIB, State.STOPPING)
    made.size, made.snapshot = GIB, Path("/s")
    if gap is not None:
        made.demand.last, made.demand.gap = NOW, gap
    if waits is not None:
        made.queue[waits] = Wanted(waits, waits, made.spec, "", NOW + 100)
    return made


def at_the_gate(slot: Slot) -> Slot:
    slot.standby = Standby(7, Allotment(0, 0, whole=False), NOW - 60, stood_at=NOW)
    return slot


def decide(
    *slots: Slot, places: int, line: tuple[Slot, ...] = (), start: Slot | None = None
) -> tuple[list[Slot], list[Slot]]:
    """Every one of `slots` had an engine that has just stopped."""
    limits = Limits(budget=10 * GIB, standby=places)
    index = SlotIndex(limits)
    for slot in slots:
        index.file(slot, NOW)
        slot.state = State.FETCHED
        index.file(slot, NOW)
    view = View(index, limits, History(), StartSeconds(), NOW)
    return prestarts(view, Plan(start=start, next=line))


def test_the_processes_of_the_next_in_line_start_first() -> None:
    first, second, third = (model(str(n), waits=n) for n in (1, 2, 3))
    popular = model("popular", gap=1.0)
    line = (first, second, third)
    assert decide(popular, *line, places=2, line=line) == ([first, second], [])


def test_what_is_left_goes_to_models_that_had_an_engine_by_how_soon_they_are_wanted() -> None:
    first, popular, rare = model("a", waits=1), model("p", gap=1.0), model("r", gap=60.0)
    assert decide(rare, popular, first, places=2, line=(first,)) == ([first, popular], [])


def test_a_model_that_is_wanted_too_rarely_or_failed_gets_no_spare() -> None:
    rare, failed, once = model("r", gap=WANTED_WITHIN), model("f", gap=1.0), model("o")
    failed.failures = 1
    assert decide(rare, failed, once, places=3) == ([], [])


def test_a_process_makes_room_for_one_of_a_model_that_is_wanted_more() -> None:
    spare, popular = at_the_gate(model("s", gap=60.0)), model("p", gap=1.0)
    assert decide(spare, popular, places=1) == ([popular], [spare])


def test_a_process_that_waits_already_is_not_started_twice() -> None:
    first = at_the_gate(model("a", waits=1))
    assert decide(first, places=1, line=(first,)) == ([], [])


def test_a_spare_that_is_not_wanted_any_more_stays_while_there_is_room_for_it() -> None:
    spare, first = at_the_gate(model("s", gap=1e6)), model("a", waits=1)
    assert decide(spare, first, places=2, line=(first,)) == ([first], [])
    assert decide(spare, first, places=1, line=(first,)) == ([first], [spare])


def test_the_model_that_starts_now_needs_no_process_ahead() -> None:
    first, second = model("a", waits=1), model("b", waits=2)
    assert decide(first, second, places=1, line=(first, second), start=first)[0] == [second]


def test_a_process_that_failed_before_is_not_started_ahead_again() -> None:
    first = model("a", waits=1)
    first.no_prestart = True
    assert decide(first, places=1, line=(first,)) == ([], [])


def test_nothing_starts_ahead_without_the_setting() -> None:
    first = model("a", waits=1)
    assert decide(first, places=0, line=(first,)) == ([], [])
