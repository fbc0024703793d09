from __future__ import annotations

from dataclasses import replace

import pytest

from router.fleet.report import Warm, Warmth, WorkerReport
from router.ray.warm_models import label, report_of, stats_of
from router.scheduler.lifecycle import State
from router.scheduler.report import DeviceReport, EngineReport, PoolReport
from tests.page.made_up import GIB, NOW, callers, engine


def model(repo_id: str, state: State, *, busy: int = 0, waits: int = 0) -> EngineReport:
    made = engine(repo_id, state, ago=10, files=10, claim=20, number=1)
    return replace(made, in_flight=callers(busy), waiting=callers(waits))


def published(
    *engines: EngineReport, most: int | None = None, budget: int = 76
) -> WorkerReport:
    held = sum(one.held for one in engines)
    device = DeviceReport(0, budget * GIB, held, 0, 0, None, None)
    loaded = sum(one.state.claims for one in engines)
    waiting = sum(one.waiting.requests for one in engines)
    pool = PoolReport(NOW, engines, 0, (device,), loaded, waiting, shutting_down=False)
    report = report_of(stats_of(pool, capacity=64, most=most))
    assert report is not None
    return report


def test_models_are_published_with_their_warmth_and_load() -> None:
    report = published(
        model("a/up", State.READY, busy=3, waits=1),
        model("a/asleep", State.ASLEEP),
        model("a/comes", State.STARTING, waits=2),
        model("a/waits-for-room", State.COLD, waits=1),
        model("a/cold", State.COLD),
        model("a/leaves", State.DRAINING, busy=1),
    )
    assert report.models == {
        label("a/up"): Warm(Warmth.LOADED, 4),
        label("a/asleep"): Warm(Warmth.SLEEPING, 0),
        label("a/comes"): Warm(Warmth.LOADING, 2),
        label("a/waits-for-room"): Warm(Warmth.LOADING, 1),
    }
    assert (report.in_flight, report.waiting, report.capacity) == (4, 4, 64)


def test_two_engines_of_a_model_are_one_of_which_the_warmer_counts() -> None:
    up, comes = model("a/up", State.READY, busy=1), model("a/up", State.STARTING, waits=1)
    assert published(comes, up).models == {label("a/up"): Warm(Warmth.LOADED, 2)}


def test_a_label_does_not_tell_the_name() -> None:
    assert "private" not in label("org/private")


def test_there_is_room_for_one_more_of_the_usual_size() -> None:
    engines = [model(f"a/{number}", State.READY, busy=1) for number in range(3)]
    assert published(*engines, budget=80).room
    assert not published(*engines, budget=79).room
    assert not published(*engines, budget=80, most=3).room


def test_an_engine_that_nobody_uses_is_room() -> None:
    idle = replace(model("a/idle", State.READY), evicted_next=1, last_used=NOW - 300.0)
    assert published(idle, budget=20).room
    used = replace(idle, last_used=NOW - 3.0)
    assert not published(used, budget=20).room


def test_a_replica_that_has_published_nothing_is_not_known() -> None:
    assert report_of({}) is None


@pytest.mark.parametrize("told", [{"a": ("melting", 1)}, {"a": 1}, {"a": ("loaded", None)}])
def test_what_another_version_has_published_is_not_known(told: dict[str, object]) -> None:
    assert report_of({"models": told}) is None
