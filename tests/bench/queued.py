"""`python -m tests.bench.queued`: the cost of an event, by the number of waiting requests.

Runs only the scheduler. Measures CPU time per event in microseconds:

  one engine, as many callers    it is ready and full: a request comes, a waiting one leaves,
                                 one in flight ends and another gets its place
  one engine, one caller         the same
  deadlines                      the same engine: a request's deadline comes
  as many downloads              each request waits for its own model, which is downloaded
  full                           the same, and one more request is refused for lack of places
"""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from router.models import EngineSpec
from router.scheduler import actions, events
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from router.simulation.hardware import GB, Model

WAITING = (256, 2_000, 20_000)
PLACES = 64
_MEASURED = 300  # events of each kind
_FEWEST = 10  # to report a kind
_NEVER = 1e9  # seconds

Times = dict[str, list[float]]


class Crowd:
    """One worker and its callers, who take turns. `callers`: their number."""

    def __init__(self, waiting: int, callers: int, *, models: int = 1) -> None:
        self.now = 0.0
        self.times: Times = {}
        self.callers, self.numbers = callers, itertools.count(1)
        self.models = [Model(f"m{number}") for number in range(models + 1)]
        self.specs = [model.spec(declared=True) for model in self.models]
        self.waiting: dict[int, None] = {}
        self.in_flight: dict[int, None] = {}
        self.scheduler = Scheduler(
            Limits(18 * GB, max_queue=waiting + 1, max_concurrency=PLACES, stall_timeout=_NEVER)
        )

    def tell(self, event: events.Event, kind: str = "") -> None:
        self.now += 1e-4
        began = time.thread_time() if kind else 0.0
        done = self.scheduler.handle(event, self.now)
        if kind:
            self.times.setdefault(kind, []).append(time.thread_time() - began)
        for action in done:
            match action:
                case actions.Grant(waiter):
                    self.waiting.pop(waiter)
                    self.in_flight[waiter] = None
                case actions.Fail(waiter):
                    self.waiting.pop(waiter)

    def want(self, spec: EngineSpec, deadline: float = _NEVER, kind: str = "") -> None:
        number = next(self.numbers)
        self.waiting[number] = None
        caller = f"caller-{number % self.callers}"
        self.tell(events.Wanted(number, number, spec, "", deadline, caller), kind)

    def start(self) -> EngineSpec:
        """Start the first model."""
        spec, model = self.specs[0], self.models[0]
        self.want(spec)
        fetched = events.Fetched(spec.key, 1, Path("/s"), model.plan.weights, model.plan)
        self.tell(fetched)
        self.tell(events.Measured(18 * GB))
        self.tell(events.Healthy(spec.key, self.scheduler.slots[spec.key].generation))
        assert self.in_flight
        return spec


def engine(waiting: int, callers: int) -> Times:
    crowd = Crowd(waiting, callers)
    spec = crowd.start()
    for _ in range(PLACES - 1 + waiting):
        crowd.want(spec)
    return _churn(crowd, lambda: crowd.want(spec, kind="comes"))


def deadlines(waiting: int) -> Times:
    crowd = Crowd(waiting, waiting)
    spec = crowd.start()
    for number in range(PLACES - 1 + waiting):
        crowd.want(spec, deadline=100.0 + number)
    for number in range(PLACES, PLACES + min(waiting, _MEASURED)):
        crowd.now = 100.0 + number
        crowd.tell(events.Tick(), "is late")
    return crowd.times


def downloads(waiting: int) -> Times:
    crowd = Crowd(waiting, waiting, models=waiting + 2 * _MEASURED)
    crowd.start()
    left: Iterator[EngineSpec] = iter(crowd.specs[1:])
    for _ in range(waiting):
        crowd.want(next(left))
    return _churn(crowd, lambda: crowd.want(next(left), kind="comes"))


def full(waiting: int) -> Times:
    crowd = Crowd(waiting, waiting, models=waiting + 1 + _MEASURED)
    crowd.start()
    left = iter(crowd.specs[1:])
    for _ in range(waiting + 1):
        crowd.want(next(left))
    for _ in range(_MEASURED):
        crowd.want(next(left), kind="is refused")
    return crowd.times


def _churn(crowd: Crowd, come: Callable[[], None]) -> Times:
    random.seed(1)
    gc.collect()
    gc.freeze()
    for _ in range(_MEASURED):
        crowd.tell(events.Left(_take(crowd.waiting)), "leaves")
        come()
        if crowd.in_flight:
            crowd.tell(events.Released(_take(crowd.in_flight), answered=True), "ends")
            come()
    gc.unfreeze()
    return crowd.times


def _take(numbers: dict[int, None]) -> int:
    number = random.choice(list(numbers))
    del numbers[number]
    return number


def main() -> int:
    waiting = tuple(map(int, sys.argv[1:])) or WAITING
    print(f"{'µs, by how many wait':44}" + "".join(f"{one:10,}" for one in waiting))
    for title, measure in (
        ("one engine, as many callers", lambda count: engine(count, count)),
        ("one engine, one caller", lambda count: engine(count, 1)),
        ("deadlines", deadlines),
        ("as many downloads", downloads),
        ("full", full),
    ):
        times = [measure(count) for count in waiting]
        for kind in (kind for kind, taken in times[0].items() if len(taken) >= _FEWEST):
            medians = [statistics.median(of[kind]) * 1e6 for of in times]
            print(f"{title}: {kind:<14}".ljust(44) + "".join(f"{one:10.1f}" for one in medians))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
