"""The compared ways of deciding: this scheduler in its modes, and the rivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.arrivals import ArrivalTrace
from router.simulation.hardware import GB
from router.simulation.world import Decider
from tests.bench.swap.rivals import RIVALS

HOST = 200 * GB  # host memory that sleeping engines may use
LARGE_HOST = 400 * GB  # all models of every trace can sleep in it
SPARES = 1  # processes that wait at their gate: the default


@dataclass(frozen=True, slots=True)
class Mode:
    name: str
    title: str
    make: Callable[[ArrivalTrace], Decider]
    declared: bool = True  # the operator declares the memory of each model


def _scheduler(trace: ArrivalTrace, **limits: object) -> Decider:
    return Scheduler(replace(Limits(trace.machine.device), **limits))  # type: ignore[arg-type]


def _prestarting(**limits: object) -> Callable[[ArrivalTrace], Decider]:
    return lambda trace: _scheduler(trace, standby=SPARES, **limits)


def modes() -> Mapping[str, Mode]:
    made = [
        Mode("declared", "without prestart", _scheduler),
        Mode(
            "undeclared",
            "the same, nothing declared",
            _scheduler,
            declared=False,
        ),
    ]
    made += [
        Mode("prestart", "with prestart (the default)", _prestarting()),
        Mode("patience-120", "SWAP_PATIENCE=120", _prestarting(patience=120.0)),
        Mode("patience-300", "SWAP_PATIENCE=300", _prestarting(patience=300.0)),
        Mode("sleep", "with sleep, 200 GB of host", _prestarting(sleep_memory=HOST)),
        Mode("sleep-400", "with sleep, 400 GB of host", _prestarting(sleep_memory=LARGE_HOST)),
    ]
    made += [
        Mode(one.name, one.title, partial(lambda rival, trace: rival.decider(trace), one))
        for one in RIVALS
    ]
    return {one.name: one for one in made}
