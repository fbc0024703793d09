"""Models of a group take turns in a simulated worker, and none of them starves."""

from __future__ import annotations

import random

import pytest

from router.models import ModelGroup
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import GB, Hardware, Model
from router.simulation.world import QUEUE_TIMEOUT, World

LASTS = 3600.0
SMALL = 4 * GB  # twelve would fit the device


def trace(*models: Model, rate: float) -> ArrivalTrace:
    """Each model gets `rate` requests per second."""
    chance = random.Random(7)
    requests = []
    for number, _ in enumerate(models):
        at = chance.expovariate(rate)
        while at < LASTS:
            requests.append(Arrival(at, number, f"caller-{number}", 100))
            at += chance.expovariate(rate)
    requests.sort(key=lambda one: one.at)
    return ArrivalTrace("groups", "groups", Hardware(), models, tuple(requests), LASTS)


def run(arrivals: ArrivalTrace, sleep_memory: int = 0) -> World:
    """Check after each event that the loaded models may be loaded together."""
    limits = Limits(arrivals.machine.device, standby=1, sleep_memory=sleep_memory)
    scheduler = Scheduler(limits)
    world = World(arrivals, scheduler, declared=True, after_each=scheduler.validate)
    world.run()
    return world


def model(name: str, group: ModelGroup | None = None) -> Model:
    return Model(name, SMALL, group=group)


@pytest.mark.parametrize("sleep_memory", [0, 100 * GB], ids=["stop", "sleep"])
@pytest.mark.parametrize(
    "group",
    [ModelGroup("one"), ModelGroup("two", max_loaded=2), ModelGroup("alone", exclusive=True)],
    ids=lambda group: group.name,
)
def test_all_requests_are_served_though_groups_part_their_models(
    group: ModelGroup, sleep_memory: int
) -> None:
    models = [model(name, group) for name in "abc"] + [model("free"), model("other")]
    world = run(trace(*models, rate=1 / 60), sleep_memory)
    assert all(one.failed is None for one in world.outcomes)
    waits = [one.granted - one.at for one in world.outcomes if one.granted is not None]
    assert len(waits) == len(world.trace.requests)
    assert max(waits) < QUEUE_TIMEOUT
    assert world.machine.totals.cold_starts + world.machine.totals.wakes > 2 * len(models), (
        "no model took turns"
    )


def test_models_without_a_group_are_loaded_once_and_stay() -> None:
    world = run(trace(*map(model, "abcde"), rate=1 / 60))
    assert world.machine.totals.cold_starts == 5


def test_a_group_costs_the_models_outside_nothing() -> None:
    pair = [model(name, ModelGroup("one")) for name in "ab"]
    world = run(trace(*pair, model("free"), rate=1 / 30))
    free = [one for one in world.outcomes if one.model == 2]
    late = [one for one in free if one.granted is not None and one.granted - one.at > 1]
    assert all(one.at < 120 for one in late), "it waits for its first start alone"
