"""The statistics that a replica publishes about its models.

Ray shows them in its logs and tools, so the models have labels that don't reveal their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from router.fleet.report import Warm, Warmth, WorkerReport
from router.scheduler.lifecycle import State
from router.scheduler.report import DeviceReport, EngineReport, PoolReport

_WARMTH = {
    State.READY: Warmth.LOADED,
    State.ASLEEP: Warmth.SLEEPING,
    State.FALLING_ASLEEP: Warmth.SLEEPING,
    State.FETCHING: Warmth.LOADING,
    State.FETCHED: Warmth.LOADING,
    State.STARTING: Warmth.LOADING,
    State.WAKING: Warmth.LOADING,
}
_ORDER = (Warmth.LOADED, Warmth.SLEEPING, Warmth.LOADING)
_JUST_NOW = 60.0  # seconds; an engine used within that time does not count as room

Stats = dict[str, object]


def label(repo_id: str) -> str:
    """The label by which requests are routed. It ignores the revision: a replica with another
    revision is no worse than any other."""
    return blake2b(repo_id.encode(), digest_size=12).hexdigest()


def stats_of(report: PoolReport, *, capacity: int, most: int | None) -> Stats:
    """The statistics for Ray, as plain values. `capacity`: requests that an engine answers at
    once. `most`: the most engines at a time; None: as many as fit."""
    models: dict[str, tuple[str, int]] = {}
    in_flight = 0
    for engine in report.engines:
        load = engine.in_flight.requests + engine.waiting.requests
        in_flight += engine.in_flight.requests
        warmth = _warmth(engine)
        if warmth is None:
            continue
        name = label(engine.key.repo_id)
        before, already = models.get(name, (warmth.value, 0))
        best = min(Warmth(before), warmth, key=_ORDER.index)
        models[name] = best.value, already + load
    return {
        "models": models,
        "in_flight": in_flight,
        "waiting": report.waiting,
        "capacity": capacity,
        "room": _has_room(report, most),
    }


def report_of(stats: Mapping[str, object]) -> WorkerReport | None:
    """A replica's published report. None if there is none, or if it can't be read: in a rolling
    update, another version of the router may have published it."""
    models = stats.get("models")
    if not isinstance(models, dict):
        return None
    try:
        warm = {name: Warm(Warmth(state), int(load)) for name, (state, load) in models.items()}
    except (TypeError, ValueError):
        return None
    return WorkerReport(
        warm,
        in_flight=number(stats, "in_flight"),
        waiting=number(stats, "waiting"),
        capacity=number(stats, "capacity"),
        room=bool(stats.get("room")),
    )


def number(stats: Mapping[str, object], name: str) -> int:
    value = stats.get(name)
    return value if isinstance(value, int) else 0


def _warmth(engine: EngineReport) -> Warmth | None:
    """A model that waits for room counts as loading. One that makes room counts as gone."""
    found = _WARMTH.get(engine.state)
    return Warmth.LOADING if found is None and engine.waiting.requests else found


def _has_room(report: PoolReport, most: int | None) -> bool:
    """Whether another model of average size fits without evicting one that is in use."""
    claims = [one.claim for one in report.engines if one.state.claims]
    usual = sum(claims) // len(claims) if claims else 0
    if most is None or report.loaded < most:
        free = [_left(device) for device in report.devices]
        if not claims or any(left >= usual for left in free):
            return True
    return any(
        one.evicted_next is not None
        and (one.last_used is None or report.now - one.last_used > _JUST_NOW)
        for one in report.engines
    )


def _left(device: DeviceReport) -> int:
    return device.budget - device.held - device.standby - device.written_off
