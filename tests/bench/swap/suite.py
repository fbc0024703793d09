"""Every trace, seed and way of deciding, on all cores; and the bounds of each trace."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from router.simulation.world import QUEUE_TIMEOUT, World
from tests.bench.swap.bounds import lower_bound
from tests.bench.swap.figures import Figures, figures
from tests.bench.swap.modes import modes
from tests.bench.swap.offline import Search
from tests.bench.swap.traces import TRACES

PATIENCES = (120.0, 300.0, QUEUE_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Bounds:
    """For one seed: the proven minimum of cold starts, and the fewest known."""

    patience: float
    proven: int
    proven_prestarted: int  # if processes may wait at their gate
    known: int | None  # None: no known schedule serves all


@dataclass(frozen=True, slots=True)
class Results:
    """By trace. Figures by mode, one per seed."""

    runs: Mapping[str, Mapping[str, Sequence[Figures]]]
    bounds: Mapping[str, Sequence[Bounds]]


def run(name: str, mode: str, seed: int) -> Figures:
    trace, chosen = TRACES[name](seed), modes()[mode]
    world = World(trace, chosen.make(trace), declared=chosen.declared)
    world.run()
    return figures(world)


def bound(name: str, patience: float) -> Bounds:
    trace = TRACES[name](1)
    best = Search(trace, patience).best()
    return Bounds(
        patience,
        lower_bound(trace, patience),
        lower_bound(trace, patience, prestart=True),
        best.cold_starts if best else None,
    )


def measure(
    names: Iterable[str], wanted: Iterable[str], seeds: range, *, bounds: bool
) -> Results:
    names, wanted = list(names), list(wanted)
    with ProcessPoolExecutor() as pool:
        known = {
            name: [pool.submit(bound, name, patience) for patience in PATIENCES]
            for name in names
            if bounds
        }
        runs = {
            name: {
                mode: [pool.submit(partial(run, name, mode), seed) for seed in seeds]
                for mode in wanted
            }
            for name in names
        }
        return Results(
            {
                name: {mode: [one.result() for one in all_] for mode, all_ in of.items()}
                for name, of in runs.items()
            },
            {name: [one.result() for one in all_] for name, all_ in known.items()},
        )


def summary(found: Sequence[Figures]) -> Figures:
    """Over several seeds: means of shares and counts, medians of quantiles, the worst waits."""
    worst = max(found, key=lambda one: one.starved)
    return Figures(
        requests=sum(one.requests for one in found),
        served=statistics.mean(one.served for one in found),
        p50=statistics.median(one.p50 for one in found),
        p95=statistics.median(one.p95 for one in found),
        longest=max(one.longest for one in found),
        cold_starts=round(statistics.mean(one.cold_starts for one in found)),
        wakes=round(statistics.mean(one.wakes for one in found)),
        idle=statistics.mean(one.idle for one in found),
        starved=worst.starved,
        starving=worst.starving,
    )
