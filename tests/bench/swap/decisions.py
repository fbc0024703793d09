"""The duration of one decision: 1,000 known models, 100 engines, 10,000 waiting requests.

    python -m tests.bench.swap.decisions [--events N] [--json FILE]

Requests come, end and leave at random, while engines start and stop one after another, as the
scheduler decides. The CPU time of each event is measured, without the preparation.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from router.models import EngineKey, EngineSpec
from router.scheduler import actions, events
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.hardware import GB, Model

MODELS, ENGINES, WAITING = 1000, 100, 10_000
IN_FLIGHT = 3  # per engine at the beginning
CALLERS = 50
NEVER = 1e9  # seconds
STEPS = 40  # events between the beginning and the end of a start or a stop


@dataclass
class Churn:
    """Drives a busy scheduler."""

    rng: random.Random = field(default_factory=lambda: random.Random(1))
    times: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    now: float = 0.0
    waiting: dict[int, None] = field(default_factory=dict)
    in_flight: dict[int, EngineKey] = field(default_factory=dict)
    ups: dict[EngineKey, None] = field(default_factory=dict)
    loading: str = "neither"  # whether an engine starts or stops

    def __post_init__(self) -> None:
        sizes = [Model(f"m{number:04}") for number in range(MODELS)]
        self.specs = [model.spec(declared=True) for model in sizes]
        self.scheduler = Scheduler(
            Limits(
                ENGINES * (16 + 2) * GB,
                max_queue=2 * WAITING,
                stall_timeout=NEVER,
                fetch_linger=NEVER,
                max_downloads=MODELS,
            )
        )
        self._plans = {
            spec.key: model.plan for spec, model in zip(self.specs, sizes, strict=True)
        }
        self._numbers = itertools.count(1)
        self._later: deque[tuple[int, Callable[[], None]]] = deque()
        self._fetches: list[actions.Fetch] = []
        self._step = 0

    def tell(self, kind: str, event: events.Event) -> None:
        self.now += 0.01
        phase = self.loading
        began = time.thread_time()
        done = self.scheduler.handle(event, self.now)
        self.times[kind, phase].append(time.thread_time() - began)
        for action in done:
            self._perform(action)

    # --- the initial state -----------------------------------------------------------

    def build_up(self) -> None:
        for spec in self.specs[:ENGINES]:
            for _ in range(IN_FLIGHT):
                self.want(spec)
            self._fetch_all()
            self._finish_all()
        others = self.specs[ENGINES:]
        for number in range(WAITING):
            self.want(others[number % len(others)])
        self._fetch_all()
        self.times.clear()

    def _fetch_all(self) -> None:
        fetches, self._fetches = self._fetches, []
        for fetch in fetches:
            plan = self._plans[fetch.spec.key]
            done = events.Fetched(fetch.spec.key, fetch.attempt, Path("/s"), plan.weights, plan)
            self.tell("Fetched", done)

    def _finish_all(self) -> None:
        while self._later:
            self._later.popleft()[1]()

    # --- the events ------------------------------------------------------------------

    def run(self, count: int) -> None:
        for self._step in range(count):
            while self._later and self._later[0][0] <= self._step:
                self._later.popleft()[1]()
            self._fetch_all()
            next(self._anything())()

    def _anything(self) -> Iterator[Callable[[], None]]:
        choice = self.rng.random()
        if choice < 0.3:
            yield lambda: self.want(self._loaded(), "Wanted, loaded")
        if choice < 0.5:
            yield lambda: self.want(self._unloaded(), "Wanted, unloaded")
        if choice < 0.85 and self.in_flight:
            yield self.release
        if choice < 0.95 and len(self.waiting) > WAITING:
            yield self.leave
        yield lambda: self.tell("Tick", events.Tick())

    def _loaded(self) -> EngineSpec:
        return self.rng.choice([spec for spec in self.specs if spec.key in self.ups])

    def _unloaded(self) -> EngineSpec:
        return self.rng.choice([spec for spec in self.specs if spec.key not in self.ups])

    def want(self, spec: EngineSpec, kind: str = "Wanted, unloaded") -> None:
        number = next(self._numbers)
        self.waiting[number] = None
        caller = f"caller-{self.rng.randrange(CALLERS)}"
        self.tell(kind, events.Wanted(number, number, spec, "", NEVER, caller))

    def release(self) -> None:
        number = self.rng.choice(list(self.in_flight))
        del self.in_flight[number]
        self.tell("Released", events.Released(number, answered=True))

    def leave(self) -> None:
        number = self.rng.choice(list(self.waiting))
        del self.waiting[number]
        self.tell("Left", events.Left(number))

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Grant(waiter, key):
                self.waiting.pop(waiter)
                self.in_flight[waiter] = key
            case actions.Fail(waiter):
                self.waiting.pop(waiter)
            case actions.Fetch():
                self._fetches.append(action)
            case actions.Measure():
                self.tell("Measured", events.Measured(self.scheduler.limits.budget))
            case actions.Start(spec, generation):
                self.loading = "one starts"
                self._in_a_while(lambda: self._healthy(spec.key, generation))
            case actions.Stop(key, generation):
                self.loading = "one stops"
                self.ups.pop(key, None)
                self._in_a_while(lambda: self._gone(key, generation))

    def _in_a_while(self, what: Callable[[], None]) -> None:
        self._later.append((self._step + STEPS, what))

    def _healthy(self, key: EngineKey, generation: int) -> None:
        self.ups[key] = None
        self.tell("Healthy", events.Healthy(key, generation))
        if not self._later:
            self.loading = "neither"

    def _gone(self, key: EngineKey, generation: int) -> None:
        self.tell("Gone", events.Gone(key, generation, 0))
        if not self._later:
            self.loading = "neither"


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.swap.decisions")
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    churn = Churn()
    churn.build_up()
    gc.collect()
    gc.freeze()
    churn.run(args.events)
    rows = [
        (kind, phase, len(taken), statistics.median(taken), quantile(taken, 0.99))
        for (kind, phase), taken in sorted(churn.times.items())
    ]
    known, waiting = len(churn.scheduler.slots), len(churn.waiting)
    print(f"{known} known models, {len(churn.ups)} engines, {waiting} waiting requests")
    print(f"{'event':18}{'meanwhile':14}{'events':>8}{'median':>12}{'p99':>12}")
    for kind, phase, count, median, p99 in rows:
        print(f"{kind:18}{phase:14}{count:8}{median * 1e6:9.0f} µs{p99 * 1e6:9.0f} µs")
    if args.json:
        names = ("event", "meanwhile", "events", "median", "p99")
        args.json.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    return 0


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    sys.exit(main())
