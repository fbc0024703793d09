"""A scheduler that a test drives through `Scheduler.handle`, one report after another."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TypeVar

from router.models import EngineSpec, MemoryPlan
from router.scheduler import actions, events
from router.scheduler.engine_life import EngineLife
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from tests.pool.fakes import GIB

A = TypeVar("A")

# 5 GiB with a cache of 32,768 tokens; a fifth more until it was measured.
PLAN = MemoryPlan(weights=4 * GIB, token=GIB >> 15, overhead=0, context=1 << 16)


class Driver:
    """Downloads and measurements succeed at once. Everything else waits for the test's
    report."""

    def __init__(self, limits: Limits) -> None:
        self.scheduler = Scheduler(limits)
        self.now = 1000.0
        self.free = limits.budget
        self.plan: MemoryPlan | None = PLAN
        self.actions: list[actions.Action] = []  # since the last call of `said`
        self._numbers = itertools.count(1)

    def tell(self, event: events.Event) -> None:
        done = self.scheduler.handle(event, self.now)
        self.scheduler.validate()
        self.actions += done
        for action in done:
            match action:
                case actions.Fetch(spec, attempt):
                    size = 4 * GIB
                    self.tell(events.Fetched(spec.key, attempt, Path("/s"), size, self.plan))
                case actions.Measure():
                    self.tell(events.Measured(self.free))

    def said(self, kind: type[A]) -> list[A]:
        """The actions of one kind since the last call. All others are forgotten."""
        found: list[A] = [action for action in self.actions if isinstance(action, kind)]
        self.actions.clear()
        return found

    def want(
        self, spec: EngineSpec, *, patience: float = 1e6, caller: str | None = None
    ) -> int:
        number = next(self._numbers)
        self.tell(events.Wanted(number, number, spec, "", self.now + patience, caller))
        return number

    def release(self, waiter: int) -> None:
        self.tell(events.Released(waiter, answered=True))

    def life(self, spec: EngineSpec) -> EngineLife:
        return self.scheduler.slots[spec.key]

    def ready(self, spec: EngineSpec, taken: int | None = None) -> None:
        self.tell(events.Healthy(spec.key, self.life(spec).generation, taken))

    def fail_start(self, spec: EngineSpec, *, out_of_memory: bool) -> None:
        """Fail a start. The process is gone too."""
        generation = self.life(spec).generation
        self.tell(events.StartFailed(spec.key, generation, "exit 1", out_of_memory))
        self.tell(events.Gone(spec.key, generation, 0))

    def gone(self, spec: EngineSpec) -> None:
        self.tell(events.Gone(spec.key, self.life(spec).generation, 0))

    def asleep(self, spec: EngineSpec, left: int = 0) -> None:
        self.tell(events.Asleep(spec.key, self.life(spec).generation, 0, left))

    def crash(self, spec: EngineSpec) -> None:
        self.tell(events.Crashed(spec.key, self.life(spec).generation, "killed"))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(events.Tick())

    def serve(self, spec: EngineSpec, *, caller: str | None = None) -> None:
        """One request from its cold start to its answer."""
        waiter = self.want(spec, caller=caller)
        self.ready(spec)
        self.release(waiter)
