"""Shows a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from router.commands.output import Output, Row, size_text
from router.commands.plan.request_log import RequestLog
from router.simulation.arrivals import ArrivalTrace
from router.simulation.fleet_world import FleetFigures
from router.simulation.hardware import Model
from router.simulation.planning import FleetPlan, PlannedGroup

_SHOWN = 6  # models of a group; --json has all
_FEW = 100  # requests; the 95th percentile means little for fewer
_LATE = 0.05  # share of all requests that may wait longer
_COLUMNS = ("workers", "way", "served", "p50", "p95", "cold starts", "busy hours")
_WAYS = (
    ("queue", "one queue"),
    ("split", "an endpoint for each group"),
    ("affinity", "one endpoint, by model"),
)


@dataclass(frozen=True, slots=True)
class Guessed:
    """Default values, and the numbers of models that lack a value of their own."""

    memory: int
    start: float
    without_memory: int
    without_start: int


class PlanReport:
    """`part`: the simulated part of the log. `wait`: the target, in seconds."""

    def __init__(
        self,
        log: RequestLog,
        part: ArrivalTrace,
        plans: Sequence[FleetPlan],
        wait: float,
        guessed: Guessed,
    ) -> None:
        self._log, self._part, self._plans = log, part, plans
        self._wait, self._guessed = wait, guessed

    def show(self, output: Output, *, as_json: bool) -> None:
        if as_json:
            output.json(self._document())
            return
        for line in self._about():
            output.line(line)
        output.line()
        output.table(_COLUMNS, [row for plan in self._plans for row in _rows(plan)])
        output.line()
        chosen = self._plans[-1]
        output.line(self._verdict(chosen))
        if len(chosen.groups) > 1:
            output.line()
            output.table(
                ("group", "requests", "cold starts", "p95", "models"),
                [self._group(n, one) for n, one in enumerate(chosen.groups, 1)],
            )

    def _about(self) -> Iterator[str]:
        log, part, guessed = self._log, self._part, self._guessed
        yield (
            f"{len(log.at):,} requests of {len(log.names):,} models, "
            f"{sum(use.cold for use in log.uses):,} of them cold; "
            f"{log.lines:,} lines, {log.bad:,} could not be read"
        )
        yield from log.named
        if len(log.at) < _FEW:
            yield f"fewer than {_FEW} requests: these results mean little"
        if len(part.requests) < len(log.at):
            yield f"simulated: the {len(part.requests):,} requests that came closest together"
        yield (
            f"a worker has {size_text(part.machine.device)}; the requests took "
            f"{_lasting(part.lasts)} to come"
        )
        if guessed.without_memory:
            yield (
                f"{guessed.without_memory:,} models of unknown size are taken for "
                f"{size_text(guessed.memory)}: `--sizes` takes what `check --json` says"
            )
        if guessed.without_start:
            yield (
                f"{guessed.without_start:,} models without a start in the log are taken for "
                f"{guessed.start:.0f} s"
            )

    def _verdict(self, plan: FleetPlan) -> str:
        if not plan.meets(self._wait):
            late, of = self._before_a_first_start(), len(self._part.requests)
            if late > of * _LATE:
                return (
                    f"No number of workers keeps 95 of 100 waits below {self._wait:g} s: "
                    f"{late:,} of {of:,} requests wait longer for their model's first start. "
                    "Take a longer log, or a longer wait (--wait)."
                )
            return (
                f"Not even {plan.workers} workers keep 95 of 100 waits below {self._wait:g} s: "
                "try more (--workers), larger GPUs (--gpu-memory), or a longer wait (--wait)."
            )
        if plan.workers == 1:
            return (
                f"One worker keeps 95 of 100 waits below {self._wait:g} s: "
                "one endpoint for all models."
            )
        ways = [title for way, title in _WAYS if getattr(plan, way).p95 <= self._wait]
        return (
            f"{plan.workers} workers keep 95 of 100 waits below {self._wait:g} s: "
            f"{'; or '.join(ways)}."
        )

    def _before_a_first_start(self) -> int:
        """The number of requests that wait too long in any fleet.

        A model starts at its first request, and all requests wait for that start.
        """
        part, ready = self._part, dict[int, float]()
        late = 0
        for one in part.requests:
            at = ready.setdefault(one.model, one.at + self._start_of(part.models[one.model]))
            late += at - one.at > self._wait
        return late

    def _start_of(self, model: Model) -> float:
        machine = self._part.machine
        return machine.process_start + model.to_read / machine.load_rate + machine.warm_up

    def _group(self, number: int, group: PlannedGroup) -> Row:
        names = [self._part.models[n].name for n in group.models]
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        return (
            str(number),
            f"{group.requests:,}",
            f"{group.cold_starts:,}",
            _seconds(group.p95),
            ", ".join(names[:_SHOWN]) + more,
        )

    def _document(self) -> dict[str, Any]:
        log, part, last = self._log, self._part, self._plans[-1]
        return {
            "keeps_to_wait": last.meets(self._wait),
            "wait_seconds": self._wait,
            "lines": log.lines,
            "bad_lines": log.bad,
            "bad": log.named,
            "requests": len(log.at),
            "simulated_requests": len(part.requests),
            "budget_bytes": part.machine.device,
            "guessed": {
                "memory_bytes": self._guessed.memory,
                "start_seconds": round(self._guessed.start, 1),
                "models_without_memory": self._guessed.without_memory,
                "models_without_start": self._guessed.without_start,
            },
            "models": [
                {
                    "model": name,
                    "requests": use.requests,
                    "cold": use.cold,
                    "memory_bytes": model.bytes,
                    "start_seconds": round(self._start_of(model), 1),
                }
                for name, use, model in zip(log.names, log.uses, part.models, strict=True)
            ],
            "plans": [
                {
                    "workers": plan.workers,
                    **{way: _figures(getattr(plan, way)) for way, _ in _WAYS},
                }
                for plan in self._plans
            ],
            "groups": [
                {
                    "models": [part.models[n].name for n in group.models],
                    "requests": group.requests,
                    "cold_starts": group.cold_starts,
                    "p95_seconds": _finite(group.p95),
                }
                for group in last.groups
            ],
        }


def _rows(plan: FleetPlan) -> Iterator[Row]:
    for way, title in _WAYS:
        if plan.workers == 1 and way != "queue":
            return
        one: FleetFigures = getattr(plan, way)
        yield (
            str(plan.workers),
            title if plan.workers > 1 else "",
            f"{one.served:.1%}",
            _seconds(one.p50),
            _seconds(one.p95),
            f"{one.cold_starts:,}",
            f"{one.busy:.1f}",
        )


def _figures(one: FleetFigures) -> dict[str, Any]:
    return {
        "served": round(one.served, 4),
        "p50_seconds": _finite(one.p50),
        "p95_seconds": _finite(one.p95),
        "cold_starts": one.cold_starts,
        "busy_hours": round(one.busy, 3),
    }


def _finite(seconds: float) -> float | None:
    return None if isinf(seconds) else round(seconds, 1)


def _seconds(value: float) -> str:
    return "never" if isinf(value) else f"{value:.0f} s"


def _lasting(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
