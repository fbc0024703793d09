"""The duration of one decision: 1,000 workers, 10,000 models."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass

from router.fleet.report import Warm, Warmth, WorkerReport
from router.fleet.routing import Fleet

WORKERS, MODELS, EACH = 1000, 10_000, 4
DECISIONS = 20_000


@dataclass(frozen=True, slots=True)
class DecisionTimes:
    """Microseconds of CPU time."""

    what: str
    median: float
    p99: float


def large_fleet(rng: random.Random) -> Fleet:
    """Each worker has four of 5,000 models warm, and one model that all have; 5,000 are
    cold."""
    made = Fleet(rng=rng)
    for number in range(WORKERS):
        names = [f"m{rng.randrange(MODELS // 2)}" for _ in range(EACH)]
        models = {name: Warm(Warmth.LOADED, rng.randrange(9)) for name in names}
        models["everywhere"] = Warm(Warmth.LOADED, rng.randrange(9))
        room = rng.random() < 0.5
        made.report(f"w{number}", WorkerReport(models, in_flight=20, room=room))
    return made


def decision_times() -> list[DecisionTimes]:
    rng = random.Random(1)
    made = large_fleet(rng)
    found = []
    for what, everywhere in (("warm on a few, or cold", False), ("warm on all", True)):
        for session in ("", "s"):
            taken = []
            for number in range(DECISIONS):
                model = "everywhere" if everywhere else f"m{number * 7 % MODELS}"
                own = session and f"{session}{number}"
                began = time.thread_time()
                made.choose(model, own)
                taken.append((time.thread_time() - began) * 1e6)
            p99 = sorted(taken)[int(0.99 * DECISIONS)]
            told = f"{what}; with a session" if session else what
            found.append(DecisionTimes(told, statistics.median(taken), p99))
    return found
