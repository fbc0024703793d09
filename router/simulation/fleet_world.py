"""Simulates many workers under one clock, with a routing that sends each request to one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Protocol

from router.fleet.report import Warm, Warmth, WorkerReport
from router.simulation.arrivals import ArrivalTrace
from router.simulation.model_specs import ModelSpecs
from router.simulation.world import QUEUE_TIMEOUT, Decider, World

TOLD_AFTER = 0.5  # seconds until the routing learns of a worker's change
QUIET = 60.0  # seconds; an engine unused for that long counts as room
_CAPACITY = 64


class Routing(Protocol):
    """Chooses a worker, by number. It may ignore `sent` and `report`."""

    def choose(self, model: str) -> int: ...

    def sent(self, worker: int, model: str) -> None: ...

    def report(self, worker: int, report: WorkerReport) -> None: ...


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """The results of a simulation.

    `p50`, `p95`, `mean`: seconds that requests waited for an engine; `inf` for a request that
    failed. `busy`: worker hours with at least one request.
    """

    workers: int
    requests: int
    served: float
    p50: float
    p95: float
    mean: float  # of the requests that were served
    cold_starts: int
    busy: float


class FleetWorld:
    """Runs one trace. `worlds` hold the results."""

    def __init__(
        self,
        trace: ArrivalTrace,
        workers: int,
        routing: Routing,
        make: Callable[[], Decider],
        *,
        patience: float = QUEUE_TIMEOUT,
    ) -> None:
        self._trace, self._routing = trace, routing
        specs = ModelSpecs(trace.models, declared=True)
        silent = replace(trace, requests=())
        self.worlds = [
            World(silent, make(), declared=True, patience=patience, specs=specs)
            for _ in range(workers)
        ]
        self._usual = sum(model.bytes for model in trace.models) // len(trace.models)
        self._dues = [inf] * workers
        self._untold = [False] * workers
        # Entries: the time, the worker, and whether it is due to report (or to act).
        self._agenda: list[tuple[float, int, bool]] = []

    def run(self) -> None:
        """Run until every request has ended."""
        for worker in range(len(self.worlds)):
            self._routing.report(worker, self._report(worker, 0.0))
        for arrival in self._trace.requests:
            self._go_on(arrival.at)
            name = self._trace.models[arrival.model].name
            worker = self._routing.choose(name)
            self._routing.sent(worker, name)
            self.worlds[worker].ask(arrival)
            self._touched(worker, arrival.at)
        while any(world.open.count for world in self.worlds):
            self._go_on(self._agenda[0][0])

    def _go_on(self, until: float) -> None:
        """Do everything that is due by `until`."""
        while self._agenda and self._agenda[0][0] <= until:
            at, worker, tells = heapq.heappop(self._agenda)
            if tells:
                self._untold[worker] = False
                self._routing.report(worker, self._report(worker, at))
            elif at == self._dues[worker]:
                self._dues[worker] = inf
                self.worlds[worker].step()
                self._touched(worker, at)

    def _touched(self, worker: int, now: float) -> None:
        due = self.worlds[worker].due
        if due != self._dues[worker] and due < inf:
            heapq.heappush(self._agenda, (due, worker, False))
        self._dues[worker] = due
        if not self._untold[worker]:
            self._untold[worker] = True
            heapq.heappush(self._agenda, (now + TOLD_AFTER, worker, True))

    def _report(self, worker: int, now: float) -> WorkerReport:
        world = self.worlds[worker]
        counts = {self._trace.models[n].name: c for n, c in world.open.by_model.items()}
        models = {name: Warm(Warmth.LOADING, count) for name, count in counts.items()}
        taken = in_flight = 0
        room = False
        for engine in world.machine.engines.values():
            in_flight += engine.in_flight
            taken += world.trace.machine.asleep_holds if engine.sleeps else engine.model.bytes
            if not engine.stopping:
                name = engine.model.name
                models[name] = Warm(_warmth(engine.healthy, engine.sleeps), counts.get(name, 0))
                idle = engine.healthy and not engine.in_flight
                room = room or (idle and now - engine.used > QUIET)
        room = room or taken + self._usual <= world.trace.machine.device
        return WorkerReport(models, in_flight, world.open.count - in_flight, _CAPACITY, room)

    def figures(self) -> FleetFigures:
        return _figures(self.worlds)

    def figures_of_each(self) -> list[FleetFigures]:
        """The figures of each worker separately."""
        return [_figures([world]) for world in self.worlds]


def _figures(worlds: Sequence[World]) -> FleetFigures:
    outcomes = [one for world in worlds for one in world.outcomes]
    waits = sorted(one.granted - one.at if one.granted is not None else inf for one in outcomes)
    served = [wait for wait in waits if wait < inf]
    return FleetFigures(
        workers=len(worlds),
        requests=len(outcomes),
        served=len(served) / len(outcomes) if outcomes else 1.0,
        p50=_quantile(waits, 0.50),
        p95=_quantile(waits, 0.95),
        mean=sum(served) / max(1, len(served)),
        cold_starts=sum(world.machine.totals.cold_starts for world in worlds),
        busy=sum(world.open.busy for world in worlds) / 3600,
    )


def _warmth(healthy: bool, sleeps: bool) -> Warmth:  # noqa: FBT001
    if healthy:
        return Warmth.LOADED
    return Warmth.SLEEPING if sleeps else Warmth.LOADING


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0
