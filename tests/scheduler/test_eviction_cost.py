from __future__ import annotations

from router.scheduler.eviction_cost import eviction_cost
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Eviction, Limits
from router.scheduler.pace import Pace
from router.scheduler.state import Slot
from tests.pool.fakes import GIB, spec

NOW = 10_000.0


def engine(name: str, *, gap: float = 10.0, held: int = 16 * GIB, used: float = NOW) -> Slot:
    made = Slot(spec(name), held, State.READY)
    made.held, made.last_used = held, used
    made.demand.last, made.demand.gap = NOW, gap
    return made


def least(*slots: Slot, starts: dict[str, float] | None = None, lru: bool = False) -> Slot:
    """The engine that makes room first. Starts take `starts`, or 40 s."""
    history = History()
    for slot in slots:
        seconds = (starts or {}).get(slot.key.repo_id.removeprefix("org/"), 40.0)
        history.took(Stage.START, slot.key, slot.size, seconds)
    pace = Pace(Limits(budget=80 * GIB), history, NOW)
    eviction = Eviction.LRU if lru else Eviction.COST
    return min(slots, key=lambda one: eviction_cost(one, pace, eviction))


def test_the_model_that_is_asked_for_least_makes_room_first() -> None:
    often, rare = engine("often", gap=1.0), engine("rare", gap=100.0)
    assert least(often, rare) is rare


def test_of_two_that_are_asked_for_alike_the_one_that_comes_back_sooner_makes_room() -> None:
    slow, quick = engine("slow"), engine("quick")
    assert least(slow, quick, starts={"slow": 100.0, "quick": 20.0}) is quick


def test_of_two_that_cost_alike_the_one_that_holds_more_memory_makes_room() -> None:
    large, small = engine("large", held=40 * GIB), engine("small", held=4 * GIB)
    assert least(large, small) is large


def test_a_popular_model_that_went_quiet_costs_less_and_less() -> None:
    quiet, steady = engine("quiet", gap=1.0), engine("steady", gap=60.0)
    quiet.demand.last = NOW - 30.0
    assert least(quiet, steady) is steady
    quiet.demand.last = NOW - 90.0
    assert least(quiet, steady) is quiet


def test_by_the_plain_rule_the_least_recently_used_makes_room_whatever_it_costs() -> None:
    often = engine("often", gap=1.0, used=NOW - 2.0)
    rare = engine("rare", gap=100.0, used=NOW - 1.0)
    assert least(often, rare, lru=True) is often
