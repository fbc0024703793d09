"""The routings that are compared."""

from __future__ import annotations

import random
from collections.abc import Mapping

from router.fleet.report import Costs, WorkerReport
from router.fleet.ring import Ring, hashed
from router.fleet.routing import Fleet


class AtRandom:
    """A random worker, like a queue that any worker takes from."""

    def __init__(self, workers: int, seed: int = 1) -> None:
        self._workers, self._rng = workers, random.Random(seed)  # noqa: S311

    def choose(self, model: str) -> int:  # noqa: ARG002  the interface's
        return self._rng.randrange(self._workers)

    def sent(self, worker: int, model: str) -> None:
        pass

    def report(self, worker: int, report: WorkerReport) -> None:
        pass


class LeastLoaded:
    """The worker with the fewest requests; a random one of several."""

    def __init__(self, workers: int, seed: int = 1) -> None:
        self._loads, self._rng = [0] * workers, random.Random(seed)  # noqa: S311

    def choose(self, model: str) -> int:  # noqa: ARG002  the interface's
        fewest = min(self._loads)
        return self._rng.choice([n for n, load in enumerate(self._loads) if load == fewest])

    def sent(self, worker: int, model: str) -> None:  # noqa: ARG002
        self._loads[worker] += 1

    def report(self, worker: int, report: WorkerReport) -> None:
        self._loads[worker] = report.in_flight + report.waiting


class AlwaysThere:
    """A fixed worker for each model, by a table or else by its hash, regardless of load."""

    def __init__(self, workers: int, places: Mapping[str, int] | None = None) -> None:
        self._places, self._ring = places or {}, Ring()
        for worker in range(workers):
            self._ring.add(str(worker))

    def choose(self, model: str) -> int:
        own = self._places.get(model)
        return int(next(self._ring.walk(hashed(model)))) if own is None else own

    def sent(self, worker: int, model: str) -> None:
        pass

    def report(self, worker: int, report: WorkerReport) -> None:
        pass


class Bounded:
    """Affinity with bounded load, as in `router.fleet`."""

    def __init__(self, seed: int = 1, costs: Costs | None = None) -> None:
        self._fleet = Fleet(costs, random.Random(seed))  # noqa: S311

    def choose(self, model: str) -> int:
        choice = self._fleet.choose(model)
        if choice is None:
            raise ValueError("no worker has reported")
        return int(choice.worker)

    def sent(self, worker: int, model: str) -> None:
        self._fleet.sent(str(worker), model)

    def report(self, worker: int, report: WorkerReport) -> None:
        self._fleet.report(str(worker), report)
