"""How few cold starts a trace can be served with, whoever decides and whatever they know.

Every bound is about schedules that serve every request within `patience` seconds, without
sleeping engines, and end no engine before its answers. It says nothing about schedules that let a
request fail.
"""

from __future__ import annotations

from math import inf

from tests.bench.swap.hardware import Machine, Model
from tests.bench.swap.traces import Trace


def lower_bound(trace: Trace, patience: float, *, prestart: bool = False) -> int:
    """The larger of the bounds that apply. `prestart`: processes may wait at their gate."""
    bound = by_windows(trace, patience, prestart=prestart)
    if len(trace.models) == 2 and _fit(trace, {0, 1}) == 1:
        bound = max(bound, by_turns(trace, patience, prestart=prestart))
    return bound


def by_turns(trace: Trace, patience: float, *, prestart: bool = False) -> int:
    """The fewest turns of two models that do not fit together, if answers took no time.

    Then a turn that ends at `e` serves all requests of its model that came by `e`, and the other
    model must be up by the deadline of the first that it has not served. If one schedule ends
    its first n turns no earlier than another, the first requests that they leave to each model
    are no earlier, nor are the deadlines that limit the next turn. So to end each turn as late
    as the other model's deadline allows is best; both first models are tried. Schedules that
    let answers take their time are among those compared.
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


def by_windows(trace: Trace, patience: float, *, prestart: bool = False) -> int:
    """A bound for any number of models and any sizes.

    Take the requests that come in [t, u]. Each of their models holds memory at t, or starts to
    load after t, and by the deadline of its request less its load. Those that hold memory at
    t fit together. So if they are more than can fit, the rest are starts in that window. The
    windows that are counted do not overlap, and a dynamic program finds the best of them.
    Before the first request, nothing holds memory.
    """
    requests = trace.requests
    loads = [_load(trace.machine, model, prestart=prestart) for model in trace.models]
    count = len(requests)
    best = [0] * (count + 1)
    for first in range(count - 1, -1, -1):
        best[first] = best[first + 1]
        after, seen = first, set[int]()
        window_ends, needed = 0.0, 0
        for last in range(first, count):
            one = requests[last]
            window_ends = max(window_ends, one.at + patience - loads[one.model])
            if one.model in seen:
                continue
            seen.add(one.model)
            needed = len(seen) - (_fit(trace, seen) if first else 0)
            while after < count and requests[after].at < window_ends:
                after += 1
            best[first] = max(best[first], needed + best[after])
            if len(seen) == len(trace.models):
                break
    return best[0]


def _load(machine: Machine, model: Model, *, prestart: bool) -> float:
    return (machine.load if prestart else machine.cold_start)(model.weights)


def _fit(trace: Trace, models: set[int]) -> int:
    """How many of these fit together at most: the smallest."""
    left, count = trace.machine.device, 0
    for size in sorted(trace.models[model].bytes for model in models):
        left -= size
        if left < 0:
            break
        count += 1
    return count
