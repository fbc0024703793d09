"""The ways of deciding that are compared: this scheduler in its modes, and the rivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

from router.scheduler.machine import Scheduler
from router.scheduler.state import Limits
from tests.bench.swap.hardware import GB
from tests.bench.swap.rivals import RIVALS
from tests.bench.swap.traces import Trace
from tests.bench.swap.world import Decider

HOST = 200 * GB  # what sleeping engines may take of the host's memory
SPARES = 2  # processes that stand at their gate


@dataclass(frozen=True, slots=True)
class Mode:
    name: str
    title: str
    make: Callable[[Trace], Decider]
    declared: bool = True  # the operator says how much memory each model takes


def _scheduler(trace: Trace, **wanted: object) -> Decider:
    """Limits that this version does not know are left out."""
    known = {one.name for one in fields(Limits)}
    chosen = {name: value for name, value in wanted.items() if name in known}
    return Scheduler(replace(Limits(trace.machine.device), **chosen))  # type: ignore[arg-type]


def _supported(*names: str) -> bool:
    return {*names} <= {one.name for one in fields(Limits)}


def modes() -> Mapping[str, Mode]:
    made = [
        Mode("declared", "this scheduler", partial(_scheduler, standby=0, sleep_memory=0)),
        Mode(
            "undeclared",
            "the same, nothing declared",
            partial(_scheduler, standby=0, sleep_memory=0),
            declared=False,
        ),
    ]
    if _supported("standby"):
        made.append(
            Mode(
                "prestart",
                "with prestart",
                partial(_scheduler, standby=SPARES, sleep_memory=0),
            )
        )
    if _supported("standby", "sleep_memory"):
        made.append(
            Mode(
                "sleep",
                "with prestart and sleep",
                partial(_scheduler, standby=SPARES, sleep_memory=HOST),
            )
        )
    made += [
        Mode(one.name, one.title, partial(lambda rival, trace: rival.decider(trace), one))
        for one in RIVALS
    ]
    return {one.name: one for one in made}
