"""Bounds for every way of choosing workers, even one that knows the future.

`fewest_starts`: cold starts. It works like `tests.bench.swap.bounds.by_windows`, for models of
one size on many workers. Of the models requested in a window, no more than fit on all workers
can be warm at its beginning; each of the rest starts in it. It holds for all schedules that
begin every answer within `patience`.

`fewest_in_order`: cold starts if requests are also served in order of arrival, so that none
waits for others of its model. All workers' places count as one memory. When a model must go, it
is the one requested last (Belady's choice, which is optimal).

The bounds of waits and of busy hours are about schedules that load on demand: each load begins
for a waiting request, and serves it. This router's scheduler does so. A worker that knew the
future could load ahead, and nobody would wait.

`least_p95`: the loads that `fewest_starts` counts are complete, and each has its own request
that waits for all of it. A request that is never served waits longer. So at least this many
requests wait for a load. If they are more than 5 of 100, the p95 is at least one load.

`least_busy`: the larger of two bounds. (1) While a worker loads, it has a request, and it reads
the weights of one model at a time (or several, each more slowly): it is busy for as many reads
as it has starts. (2) From its arrival to the end of its answer, a request keeps a worker busy:
for its answer, and before that for a load, if it is the first of its model. At least one worker
is busy while any such request exists. Further waits and further workers are not counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from router.simulation.arrivals import ArrivalTrace

_WINDOWS = 400  # start times of windows that are tried
_AT_MOST = 3  # a window ends after so many times the models that fit


@dataclass(frozen=True, slots=True)
class Bounds:
    """`busy` is in hours. `busy` and `cold_starts` hold if all are served. `p95` is in
    seconds."""

    cold_starts: int
    in_order: int  # cold starts
    busy: float
    p95: float


def bounds(trace: ArrivalTrace, workers: int, patience: float) -> Bounds:
    starts = fewest_starts(trace, workers, patience)
    places = workers * (trace.machine.device // trace.models[0].bytes)
    return Bounds(
        starts,
        fewest_in_order([one.model for one in trace.requests], places),
        least_busy(trace, starts),
        least_p95(trace, starts),
    )


def fewest_in_order(asked: Sequence[int], places: int) -> int:
    following, later = list[float](), dict[int, int]()
    for place in range(len(asked) - 1, -1, -1):
        following.append(later.get(asked[place], inf))
        later[asked[place]] = place
    warm, starts = dict[int, float](), 0  # the next request of each model
    for model, again in zip(asked, reversed(following), strict=True):
        if model not in warm:
            starts += 1
            if len(warm) == places:
                del warm[max(warm, key=warm.__getitem__)]
        warm[model] = again
    return starts


def least_p95(trace: ArrivalTrace, starts: int) -> float:
    count = len(trace.requests)
    within = ceil(0.95 * count)  # requests that wait no longer than the p95, including that one
    load = trace.machine.load(trace.models[0].weights)
    return load if starts > count - within else 0.0


def least_busy(trace: ArrivalTrace, starts: int) -> float:
    """The bound in hours."""
    machine = trace.machine
    reads = starts * trace.models[0].to_read / machine.load_rate
    some, until, seen = 0.0, 0.0, set[int]()
    for one in trace.requests:
        first = one.model not in seen
        seen.add(one.model)
        load = machine.load(trace.models[one.model].weights) if first else 0.0
        ends = one.at + load + one.tokens * machine.token
        some += max(0.0, ends - max(until, one.at))
        until = max(until, ends)
    return max(reads, some) / 3600


def fewest_starts(trace: ArrivalTrace, workers: int, patience: float) -> int:
    """At least one per model; otherwise the best sum over windows that do not overlap."""
    size = trace.models[0].bytes
    if any(model.bytes != size for model in trace.models):
        raise ValueError("only for models of one size")
    fits = workers * (trace.machine.device // size)
    load = trace.machine.load(trace.models[0].weights)
    times = [one.at for one in trace.requests]
    distinct = len({one.model for one in trace.requests})
    every = max(1, len(times) // _WINDOWS)
    best = [0] * (len(times) + 1)
    for first in range(len(times) - 1, -1, -1):
        best[first] = best[first + 1]
        if first % every:
            continue
        warm, seen = fits if first else 0, set[int]()
        for one in trace.requests[first:]:
            if one.model in seen:
                continue
            seen.add(one.model)
            if len(seen) > warm:
                after = bisect_left(times, one.at + patience - load)
                best[first] = max(best[first], len(seen) - warm + best[after])
            if len(seen) > _AT_MOST * fits + 1:
                break
    return max(distinct, best[0])
