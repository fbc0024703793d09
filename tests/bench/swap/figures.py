"""The figures of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from router.simulation.records import RequestOutcome
from router.simulation.world import World


@dataclass(frozen=True, slots=True)
class Figures:
    """Times are in seconds. A failed request counts as a longer wait than any served one.

    * `idle`: the share of the trace in which requests waited and none was being answered.
    * `starved`: the longest time in which requests of one model waited, or had failed since the
      last grant, without another grant.
    * `starving`: that model.
    """

    requests: int
    served: float
    p50: float
    p95: float
    longest: float  # until a grant or a failure
    cold_starts: int
    wakes: int
    idle: float
    starved: float
    starving: str


def figures(world: World) -> Figures:
    outcomes = world.outcomes
    waits = sorted(one.granted - one.at if one.granted is not None else inf for one in outcomes)
    longest = max(
        ((one.granted if one.granted is not None else one.ended or inf) - one.at)
        for one in outcomes
    )
    starved, model = _starved(outcomes)
    return Figures(
        requests=len(outcomes),
        served=sum(one.granted is not None for one in outcomes) / len(outcomes),
        p50=_quantile(waits, 0.50),
        p95=_quantile(waits, 0.95),
        longest=longest,
        cold_starts=world.machine.totals.cold_starts,
        wakes=world.machine.totals.wakes,
        idle=_idle(outcomes, world.trace.lasts),
        starved=starved,
        starving=world.trace.models[model].name,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _idle(outcomes: Sequence[RequestOutcome], lasts: float) -> float:
    """The time in which requests wait and none is in flight, from the changes of both
    counts."""
    changes: list[tuple[float, int, int]] = []
    for one in outcomes:
        ended = one.ended if one.ended is not None else inf
        until = one.granted if one.granted is not None else ended
        changes += [(one.at, 1, 0), (until, -1, 0)]
        if one.granted is not None:
            changes += [(one.granted, 0, 1), (ended, 0, -1)]
    waiting = flying = 0
    idle = before = 0.0
    for at, more_wait, more_fly in sorted(changes):
        if waiting and not flying:
            idle += max(0.0, min(at, lasts) - min(before, lasts))
        waiting, flying, before = waiting + more_wait, flying + more_fly, at
    return idle / lasts


def _starved(outcomes: Sequence[RequestOutcome]) -> tuple[float, int]:
    """The longest time without a grant, from the first request that was not granted since."""
    worst, worst_model = 0.0, 0
    by_model: dict[int, list[RequestOutcome]] = {}
    for one in outcomes:
        by_model.setdefault(one.model, []).append(one)
    for model, own in by_model.items():
        grants = sorted(one.granted for one in own if one.granted is not None)
        last = max((one.ended or 0.0) for one in own)
        for begin, end in zip([0.0, *grants], [*grants, last], strict=True):
            asked = [one.at for one in own if _open_after(one, begin) and one.at < end]
            if asked and end - max(begin, min(asked)) > worst:
                worst, worst_model = end - max(begin, min(asked)), model
    return worst, worst_model


def _open_after(one: RequestOutcome, begin: float) -> bool:
    until = one.granted if one.granted is not None else one.ended
    return until is None or until > begin
