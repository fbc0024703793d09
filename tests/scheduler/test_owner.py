"""The scheduler owns its slots, so their changes have few places in the code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from router.scheduler import events
from router.scheduler.engine_life import EngineLife
from router.scheduler.events import DIGEST_SHOWN
from router.scheduler.invariants import InvariantViolation
from router.scheduler.lifecycle import IllegalTransition, State
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.scheduler.state import Slot
from tests.pool.fakes import GIB, spec

# The pass changes slots, through the state that they share.
PASS = {"scheduler_state.py", "dispatch.py", "updates.py", "decisions.py"}
ROOMS = [Path(__file__).parents[2] / "router" / room for room in ("scheduler", "pool")]
A = spec("a")


def wanted(waiter: int, **fields: str) -> events.Wanted:
    return events.Wanted(waiter, waiter, A, fields.pop("digest", ""), 100.0, **fields)


def scheduler_with_a_ready_engine(*more: events.Event) -> Scheduler:
    made = Scheduler(Limits(budget=100 * GIB, max_concurrency=2))
    for event in (
        wanted(1),
        events.Fetched(A.key, 1, Path("/s")),
        events.Measured(100 * GIB),
        events.Healthy(A.key, 2),
        *more,
    ):
        made.handle(event, 1.0)
    made.validate()
    return made


def test_only_the_life_of_an_engine_writes_to_a_slot() -> None:
    """All other classes assign attributes only to `self`, or to a new error."""
    for file in (file for room in ROOMS for file in room.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                assert isinstance(node.value, ast.Name), f"{file.name}:{node.lineno}"
                assert node.value.id in {"self", "error"}, f"{file.name}:{node.lineno}"


def test_only_the_pass_calls_what_writes_to_a_slot() -> None:
    layers = EngineLife.__mro__[: EngineLife.__mro__.index(Slot)]
    writers = {name for layer in layers for name in vars(layer) if not name.startswith("_")}
    assert {"enqueue", "release", "evict"} <= writers
    for file in (*ROOMS[0].glob("*.py"), *ROOMS[1].glob("*.py")):
        called = {
            f"{ast.unparse(node.func.value)}.{node.func.attr}"
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        on_slots = {one for one in called if one.startswith(("slot.", "other.", "victim."))}
        strangers = {one for one in on_slots if one.partition(".")[2] in writers}
        assert file.name in PASS or not strangers, f"{file.name}: {strangers}"


def test_an_illegal_transition_tells_the_engine_its_state_the_cause_and_its_story() -> None:
    digest = "d" * 64
    made = scheduler_with_a_ready_engine(wanted(2, digest=digest, caller=digest))
    with pytest.raises(IllegalTransition) as raised:
        made.slots[A.key].evict(2.0)
    head, *story = str(raised.value).splitlines()
    assert head == f"{A.key} with 2 requests in flight: EVICTED in READY"
    assert [line.split("(")[0].split(maxsplit=1)[1] for line in story] == [
        "Wanted",
        "-> wanted",
        "Fetched",
        "-> verified on disk",
        "-> admitted",
        "Healthy",
        "-> healthy",
        "Wanted",
    ]
    assert "d" * DIGEST_SHOWN in str(raised.value)
    assert "d" * (DIGEST_SHOWN + 1) not in str(raised.value)
    assert made.slots[A.key].state is State.READY


def test_a_story_holds_the_last_ten_events_at_least_and_not_all() -> None:
    made = scheduler_with_a_ready_engine()
    for waiter in range(2, 100):
        made.handle(wanted(waiter), 1.0)
        made.handle(events.Released(waiter, answered=True), 1.0)
    story = list(made.slots[A.key].tell_story())
    assert 10 <= len(story) <= 20
    assert "Released(waiter=99" in story[-1]


def lose_a_request(made: Scheduler) -> None:
    made._state.holders.clear()


def exceed_the_budget(made: Scheduler) -> None:
    made.slots[A.key].held = 101 * GIB


def keep_a_request_waiting(made: Scheduler) -> None:
    made.slots[A.key].queue[1] = made.slots[A.key].leases.pop(1)
    del made.slots[A.key].since[1]


def stop_under_a_request(made: Scheduler) -> None:
    made.slots[A.key].state = State.STOPPING


def lose_the_files(made: Scheduler) -> None:
    made.slots[A.key].snapshot = Path()


def forget_the_timer(made: Scheduler) -> None:
    made.wake_at = float("inf")


def take_too_many(made: Scheduler) -> None:
    for waiter in (2, 3):
        made.slots[A.key].leases[waiter] = wanted(waiter)
        made.slots[A.key].since[waiter] = 1.0
        made._state.holders[waiter] = made.slots[A.key]


def miss_the_shutdown(made: Scheduler) -> None:
    made._state.shut_down()


def file_it_twice(made: Scheduler) -> None:
    made._state.slots[spec("b").key] = made._state.slots[A.key]


def leave_a_trial_behind(made: Scheduler) -> None:
    made.slots[A.key].trial_ends_at = 5.0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (leave_a_trial_behind, "a trial ends, and no request waits for that"),
        (lose_a_request, "a request is filed under another engine"),
        (exceed_the_budget, "the claims exceed the budget"),
        (keep_a_request_waiting, "a request waits for an engine that could take it"),
        (stop_under_a_request, "requests are in flight without an engine"),
        (lose_the_files, "it has no snapshot"),
        (forget_the_timer, "no timer is set"),
        (take_too_many, "more requests are in flight than MAX_CONCURRENCY"),
        (miss_the_shutdown, "the shutdown has missed it"),
        (file_it_twice, "it is filed under another key"),
    ],
)
def test_a_broken_invariant_is_found_and_named(
    damage: Callable[[Scheduler], None], told: str
) -> None:
    made = scheduler_with_a_ready_engine()
    damage(made)
    with pytest.raises(InvariantViolation, match=told):
        made.validate()
