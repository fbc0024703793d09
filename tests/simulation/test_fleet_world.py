"""Many simulated workers under one clock, each with the real scheduler."""

from __future__ import annotations

import pytest

from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.fleet_world import FleetFigures, FleetWorld, Routing
from router.simulation.grouping import groups, places
from router.simulation.hardware import GB, Hardware, Model
from router.simulation.planning import busiest
from router.simulation.routings import AlwaysThere, AtRandom, Bounded, LeastLoaded
from router.simulation.world import QUEUE_TIMEOUT, World
from tests.bench.fleet.bound import fewest_starts
from tests.bench.fleet.traces import bursty, zipf


def scheduler(trace: ArrivalTrace) -> Scheduler:
    return Scheduler(Limits(trace.machine.device, standby=1))


def run(trace: ArrivalTrace, workers: int, routing: Routing) -> FleetFigures:
    world = FleetWorld(trace, workers, routing, lambda: scheduler(trace))
    world.run()
    return world.figures()


def test_a_fleet_of_one_is_the_worker() -> None:
    trace = zipf(1, models=10, rate=0.05, lasts=1800)
    alone = World(trace, scheduler(trace), declared=True)
    alone.run()
    fleet = FleetWorld(trace, 1, Bounded(), lambda: scheduler(trace))
    fleet.run()
    only = fleet.worlds[0]
    assert [one.granted for one in only.outcomes] == [one.granted for one in alone.outcomes]
    assert only.machine.totals.cold_starts == alone.machine.totals.cold_starts


@pytest.fixture(scope="module")
def trace() -> ArrivalTrace:
    return bursty(1, models=60, rate=1.2, lasts=900)


def test_affinity_has_a_fifth_of_the_cold_starts_of_random_routing_at_the_same_load(
    trace: ArrivalTrace,
) -> None:
    at_random, bounded = run(trace, 6, AtRandom(6)), run(trace, 6, Bounded())
    assert bounded.requests == at_random.requests == len(trace.requests)
    assert bounded.served == 1.0
    assert bounded.cold_starts * 5 <= at_random.cold_starts
    assert bounded.p95 < at_random.p95
    assert bounded.busy < at_random.busy


@pytest.mark.parametrize("routing", [AtRandom(6), LeastLoaded(6), AlwaysThere(6), Bounded()])
def test_no_way_has_fewer_cold_starts_than_the_bound(
    trace: ArrivalTrace, routing: Routing
) -> None:
    found = run(trace, 6, routing)
    if found.served == 1.0:
        assert fewest_starts(trace, 6, QUEUE_TIMEOUT) <= found.cold_starts


def test_models_that_are_wanted_at_the_same_time_are_put_apart() -> None:
    machine = Hardware(device=40 * GB)
    models = tuple(Model(name) for name in "abcd")  # two fit together
    day = [Arrival(at, at // 60 % 2 * 2, "", 100) for at in range(0, 3600, 60)]
    night = [Arrival(at, at // 60 % 2 * 2 + 1, "", 100) for at in range(7200, 10_800, 60)]
    trace = ArrivalTrace("x", "x", machine, models, (*day, *night), 10_800)
    small = Hardware(device=20 * GB)
    tight = ArrivalTrace("x", "x", small, models, trace.requests, 10_800)
    made = [set(group) for group in groups(tight, 2)]
    assert all(len(group & {0, 2}) == 1 and len(group & {1, 3}) == 1 for group in made)
    found = run(tight, 2, AlwaysThere(2, places(tight, groups(tight, 2))))
    assert found.cold_starts == 4


def test_each_model_is_in_one_group(trace: ArrivalTrace) -> None:
    made = groups(trace, 7)
    assert sorted(number for group in made for number in group) == list(range(60))


def test_the_busiest_part_is_where_times_are_closest_together() -> None:
    assert busiest([0.0, 5.0, 6.0, 7.0, 20.0], 3) == range(1, 4)
    assert busiest([0.0, 5.0], 3) == range(2)
