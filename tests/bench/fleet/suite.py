"""Every size, trace and way of choosing a worker, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import ArrivalTrace
from router.simulation.fleet_world import FleetFigures, FleetWorld, Routing
from router.simulation.grouping import groups, places
from router.simulation.routings import AlwaysThere, AtRandom, Bounded, LeastLoaded
from router.simulation.world import QUEUE_TIMEOUT
from tests.bench.fleet.bound import Bounds, bounds
from tests.bench.fleet.traces import bursty, zipf

TRACES: Mapping[str, Callable[[int, int, float, float], ArrivalTrace]] = {
    "zipf": zipf,
    "bursty": bursty,
}
WAYS: Mapping[str, str] = {
    "random": "at random (a queue)",
    "least": "least loaded",
    "affinity": "affinity (by hash)",
    "bounded": "affinity, bounded load",
    "split": "split (offline plan)",
}


@dataclass(frozen=True, slots=True)
class Size:
    """`rate`: requests per second; `lasts`: seconds."""

    workers: int
    models: int
    rate: float
    lasts: float


# The same load per worker, and ten models: only the number of workers grows.
SCALES = {
    "zipf": (
        Size(1, 10, 0.05, 7200),
        Size(10, 100, 0.5, 3600),
        Size(100, 1000, 5, 1200),
        Size(1000, 10_000, 50, 200),
    ),
    "bursty": (
        Size(1, 10, 0.2, 7200),
        Size(10, 100, 2, 1800),
        Size(100, 1000, 20, 400),
        Size(1000, 10_000, 100, 100),
    ),
}
# The same load for more and more workers.
SWEEPS = {
    "zipf": tuple(Size(count, 100, 0.5, 3600) for count in (2, 4, 8, 16, 32)),
    "bursty": tuple(Size(count, 100, 2, 1800) for count in (2, 4, 8, 16, 32)),
}


@dataclass(frozen=True, slots=True)
class Row:
    size: Size
    bounds: Bounds
    ways: Mapping[str, FleetFigures]


Results = Mapping[str, Sequence[Row]]  # by trace


def run(kind: str, size: Size, way: str) -> FleetFigures:
    trace = TRACES[kind](1, size.models, size.rate, size.lasts)
    limits = Limits(trace.machine.device, standby=1)
    world = FleetWorld(
        trace, size.workers, _routing(way, trace, size.workers), lambda: Scheduler(limits)
    )
    world.run()
    return world.figures()


def _routing(way: str, trace: ArrivalTrace, workers: int) -> Routing:
    match way:
        case "random":
            return AtRandom(workers)
        case "least":
            return LeastLoaded(workers)
        case "affinity":
            return AlwaysThere(workers)
        case "split":
            return AlwaysThere(workers, places(trace, groups(trace, workers)))
        case _:
            return Bounded()


def bounds_of(kind: str, size: Size) -> Bounds:
    trace = TRACES[kind](1, size.models, size.rate, size.lasts)
    return bounds(trace, size.workers, QUEUE_TIMEOUT)


def measure(
    sizes: Mapping[str, Sequence[Size]], told: Callable[[str], None] = print
) -> Results:
    """The largest first, because they take longest."""
    every = [(kind, size) for kind, of in sizes.items() for size in of]
    every.sort(key=lambda one: -one[1].rate * one[1].lasts)
    with ProcessPoolExecutor() as pool:
        runs: dict[tuple[str, Size], dict[str, Future[FleetFigures]]] = {
            (kind, size): {way: pool.submit(run, kind, size, way) for way in WAYS}
            for kind, size in every
        }
        least = {one: pool.submit(bounds_of, *one) for one in every}
        done: dict[tuple[str, Size], Row] = {}
        for kind, size in every:
            ways = {way: future.result() for way, future in runs[kind, size].items()}
            done[kind, size] = Row(size, least[kind, size].result(), ways)
            told(f"{kind}: {size.workers} workers, {size.models} models")
    return {kind: [done[kind, size] for size in of] for kind, of in sizes.items()}
