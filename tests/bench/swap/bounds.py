"""The fewest cold starts for a trace, whatever the scheduler knows.

Every bound is about schedules that begin every answer within `patience` seconds of its request,
without sleeping engines. It says nothing about schedules where a request fails.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import inf

from router.simulation.arrivals import ArrivalTrace
from router.simulation.hardware import Hardware, Model


def lower_bound(trace: ArrivalTrace, patience: float, *, prestart: bool = False) -> int:
    """The larger of the bounds that apply. `prestart`: processes may wait at their gate."""
    bound = by_windows(trace, patience, prestart=prestart)
    if len(trace.models) == 2 and _Fits(trace).most(frozenset({0, 1})) == 1:
        bound = max(bound, by_turns(trace, patience, prestart=prestart))
    return bound


def by_turns(trace: ArrivalTrace, patience: float, *, prestart: bool = False) -> int:
    """The fewest turns of two models that do not fit together, if answers took no time.

    Then a turn that ends at `e` serves all its model's requests up to `e`, and the other model
    must be ready by the deadline of its first unserved request. If one schedule ends its first
    n turns no earlier than another, then each model's first unserved request is no earlier, and
    neither are the deadlines that limit the next turn. So it is best to end each turn as late
    as the other model's deadline allows. Both models are tried as the first. A schedule in
    which answers take time is also a schedule here.
    """
    arrivals = [[one.at for one in trace.requests if one.model == model] for model in (0, 1)]
    loads = [_load(trace.machine, model, prestart=prestart) for model in trace.models]
    return min(_turns(arrivals, loads, trace.machine.stop, patience, first) for first in (0, 1))


def _turns(
    arrivals: list[list[float]], loads: list[float], stop: float, patience: float, up: int
) -> int:
    served = [0, 0]  # requests of each model
    turns = 1
    while True:
        other = 1 - up
        if served[other] == len(arrivals[other]):
            ends = inf
        else:
            ends = arrivals[other][served[other]] + patience - loads[other] - stop
        while served[up] < len(arrivals[up]) and arrivals[up][served[up]] <= ends:
            served[up] += 1
        if served[other] == len(arrivals[other]):
            return turns
        up, turns = other, turns + 1


def by_windows(trace: ArrivalTrace, patience: float, *, prestart: bool = False) -> int:
    """A bound for any number of models and any sizes.

    Take the requests that come in [t, u]. Each of their models either holds memory at t, or
    starts to load after t and before the deadline of its request minus its load. The models
    that hold memory at t fit together. So if there are more than can fit, the rest are starts
    in that window. The counted windows do not overlap; a dynamic program finds the best set.
    Before the first request, nothing holds memory.
    """
    loads = [_load(trace.machine, model, prestart=prestart) for model in trace.models]
    times = [one.at for one in trace.requests]
    fits = _Fits(trace)
    best = [0] * (len(times) + 1)
    following: dict[int, float] = {}  # each model's first request from here on, soonest first
    for first in range(len(times) - 1, -1, -1):
        model = trace.requests[first].model
        following.pop(model, None)
        following = {model: times[first], **following}
        best[first] = best[first + 1]
        ends, seen = 0.0, frozenset[int]()
        for model, at in following.items():
            seen |= {model}
            ends = max(ends, at + patience - loads[model])
            needed = len(seen) - (fits.most(seen) if first else 0)
            after = bisect_left(times, ends)
            best[first] = max(best[first], needed + best[after])
    return best[0]


def _load(machine: Hardware, model: Model, *, prestart: bool) -> float:
    return (machine.load if prestart else machine.cold_start)(model.weights)


class _Fits:
    """How many models fit together at most: the smallest ones."""

    def __init__(self, trace: ArrivalTrace) -> None:
        self._device = trace.machine.device
        self._sizes = [model.bytes for model in trace.models]
        self._known: dict[frozenset[int], int] = {}

    def most(self, models: frozenset[int]) -> int:
        if models not in self._known:
            sizes = accumulate(sorted(self._sizes[model] for model in models))
            self._known[models] = sum(size <= self._device for size in sizes)
        return self._known[models]
