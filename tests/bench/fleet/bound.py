"""The fewest cold starts with which a fleet can serve a trace, even if it knows all that comes.

As `tests.bench.swap.bounds.by_windows`, for models of one size on many workers: of the models
that are asked for in a window, no more than fit on all workers can be warm at its beginning;
each of the rest starts in it. It holds for all that begin every answer within `patience`.
"""

from __future__ import annotations

from bisect import bisect_left

from router.simulation.arrivals import ArrivalTrace

_WINDOWS = 400  # beginnings that are tried
_AT_MOST = 3  # a window ends at the latest when so many times what fits was asked for


def fewest_starts(trace: ArrivalTrace, workers: int, patience: float) -> int:
    """At least one for each model; else the best sum over windows that do not overlap."""
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
