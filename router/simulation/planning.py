"""Finds by simulation how many workers a trace needs, and which models to group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import ArrivalTrace
from router.simulation.fleet_world import FleetFigures, FleetWorld, Routing
from router.simulation.grouping import groups, places
from router.simulation.routings import AlwaysThere, AtRandom, Bounded

STANDBY = 1  # engines started ahead: the setting's default


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Models for one worker. `models`: indexes in the trace, most wanted first."""

    models: Sequence[int]
    requests: int
    cold_starts: int
    p95: float


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The figures of a number of workers, used in three ways.

    * `queue`: one endpoint; any worker takes any request.
    * `split`: an endpoint with one worker for each of `groups`.
    * `affinity`: one endpoint; requests for a model go to a worker that has it warm.
    """

    workers: int
    queue: FleetFigures
    split: FleetFigures
    affinity: FleetFigures
    groups: Sequence[PlannedGroup]

    def meets(self, wait: float) -> bool:
        return min(self.split.p95, self.affinity.p95) <= wait


def plans(trace: ArrivalTrace, most: int, wait: float) -> Iterator[FleetPlan]:
    """Plans for more and more workers, up to `most`.

    `wait`: the most seconds that 95 of 100 requests may wait. The first plan that meets it,
    split or with affinity, is the last one.
    """
    workers = 1
    while True:
        made = plan(trace, workers)
        yield made
        if workers == most or made.meets(wait):
            return
        workers = min(most, workers + max(1, workers // 2))


def plan(trace: ArrivalTrace, workers: int) -> FleetPlan:
    together = groups(trace, workers)
    by_group = _run(trace, workers, AlwaysThere(workers, places(trace, together)))
    split = by_group.figures()
    if workers == 1:
        queue = affinity = split
    else:
        queue = _run(trace, workers, AtRandom(workers)).figures()
        affinity = _run(trace, workers, Bounded()).figures()
    of = [
        PlannedGroup(models, one.requests, one.cold_starts, one.p95)
        for models, one in zip(together, by_group.figures_of_each(), strict=True)
        if models
    ]
    return FleetPlan(workers, queue, split, affinity, of)


def _run(trace: ArrivalTrace, workers: int, routing: Routing) -> FleetWorld:
    limits = Limits(trace.machine.device, standby=STANDBY)
    world = FleetWorld(trace, workers, routing, lambda: Scheduler(limits))
    world.run()
    return world


def busiest(times: Sequence[float], most: int) -> range:
    """The indexes of the `most` consecutive times that are closest together; all if there are
    fewer. `times` must be sorted."""
    if len(times) <= most:
        return range(len(times))
    first = min(range(len(times) - most + 1), key=lambda n: times[n + most - 1] - times[n])
    return range(first, first + most)
