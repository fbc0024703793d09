"""Chooses the worker of a fleet for a request: affinity first, load second.

    fleet = Fleet()
    fleet.report("worker-1", WorkerReport(models={"org/name": Warm(Warmth.LOADED)}))
    route = fleet.choose("org/name", session_key(body))
    fleet.sent(route.worker, "org/name")  # and `ended` afterwards

Pure: no clock, no I/O, no tasks; the caller serializes calls. A decision looks only at the
workers that have the model warm, or at the model's next few workers on a ring.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from math import ceil

from router.fleet.report import Costs, Warmth, WorkerReport
from router.fleet.ring import Ring, hashed
from router.fleet.warm_index import Group, Member, WarmIndex, WarmPlace

_SAMPLE = 8  # warm places to compare before a request spills to a cold worker
_RANKED = 16  # for a session, rank all places up to this number; with more, walk the ring
_STEPS = 32  # members of the ring to look at for a cold model ...
_TRIED = 8  # ... until so many without room were found
_FAR = 256  # members of the ring to look at for a session
_LIGHT = 4  # a worker below a fourth of its capacity does not count as loaded
_BITS = (1 << 64) - 1


class Why(StrEnum):
    WARM = "warm"
    STICKY = "sticky"  # warm, and the session's own worker
    COLD = "cold"  # warm nowhere
    SPILLED = "spilled"  # warm, but the wait there would be longer than a start


@dataclass(frozen=True, slots=True)
class Choice:
    """`others`: workers to try, the best first, if this one can't take the request."""

    worker: str
    reason: Why
    others: tuple[str, ...] = ()


class Fleet:
    """Keeps the workers' states and decides. `rng` samples warm workers if there are many."""

    def __init__(self, costs: Costs | None = None, rng: random.Random | None = None) -> None:
        self._costs = costs or Costs()
        self._rng = rng or random.Random()  # noqa: S311  nothing secret depends on it
        self._workers: dict[str, Member] = {}
        self._warm, self._ring = WarmIndex(), Ring()
        self._load = self._starting = 0  # of all workers

    def __contains__(self, worker: str) -> bool:
        return worker in self._workers

    # --- what is known ---------------------------------------------------------------

    def report(self, name: str, report: WorkerReport) -> None:
        """Replace a worker's state. A worker with a new name joins the fleet."""
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = Member(name, hashed(name))
            self._ring.add(name)
        self._load -= worker.load
        self._starting -= worker.starting
        self._warm.take(worker, report)
        worker.take(report)
        self._load += worker.load
        self._starting += worker.starting

    def forget(self, name: str) -> None:
        """Remove a worker. Does nothing if it is unknown."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            self._load -= worker.load
            self._starting -= worker.starting
            self._warm.forget(worker)
            self._ring.remove(name)

    def sent(self, name: str, model: str) -> None:
        """Count a request for this worker, until the worker's next report or `ended`."""
        worker = self._workers.get(name)
        if worker is not None:
            starting = worker.starting
            self._warm.sent(worker, model)
            self._starting += worker.starting - starting
            worker.load += 1
            self._load += 1

    def ended(self, name: str, model: str) -> None:
        worker = self._workers.get(name)
        if worker is not None:
            starting = worker.starting
            self._warm.ended(worker, model)
            self._starting += worker.starting - starting
            if worker.load:
                worker.load -= 1
                self._load -= 1

    # --- the decision ----------------------------------------------------------------

    def choose(self, model: str, session: str = "") -> Choice | None:
        """The worker for a request; None if there are no workers.

        `session` is the same text for all requests that share a prefix, or "". If several
        workers have the model, a session stays with one of them unless it is overloaded.
        """
        group = self._warm.group(model)
        if group is None:
            return self._cold(model, Why.COLD)
        sticky = None
        if session and len(group.places) > 1:
            sticky = self._sticky(model, group, session)
        best, *others = self._best(group, sticky)
        names = [one.worker.name for one in others[:2]]
        waits = self._queue(best)
        if waits > self._costs.start or not names:
            cold = self._cold(model, Why.SPILLED)
            if cold is not None and waits > self._start_at(cold.worker):
                return replace(cold, others=(best.worker.name, *names))
            names += [cold.worker] if cold is not None else []
        reason = Why.STICKY if best is sticky else Why.WARM
        return Choice(best.worker.name, reason, tuple(names))

    def _best(self, group: Group, sticky: WarmPlace | None) -> list[WarmPlace]:
        """A few of the group's places, the best first."""
        places = sorted(group.some(self._rng), key=self._rank)
        if self._queue(places[0]) > self._costs.start and len(places) < len(group.places):
            places = sorted(group.some(self._rng, _SAMPLE), key=self._rank)
        if sticky is not None and self._queue(sticky) <= self._costs.start:
            return [sticky, *(one for one in places if one is not sticky)]
        return places

    def _rank(self, place: WarmPlace) -> tuple[float, float, float, int]:
        return (
            self._wait(place),
            place.load / place.worker.capacity,
            place.worker.load,
            place.worker.number,
        )

    def _wait(self, place: WarmPlace) -> float:
        """Seconds until a request would begin at this place."""
        costs, until = self._costs, 0.0
        if place.state is Warmth.SLEEPING:
            until = costs.wake
        elif place.state is Warmth.LOADING:
            until = costs.start * (place.worker.starting - 0.5)
        return until + self._queue(place)

    def _queue(self, place: WarmPlace) -> float:
        """The seconds of `_wait` that another engine of the model would save.

        The wait for a model that is loading does not count: it takes the memory anyway, and a
        second engine would take as much again.
        """
        over = place.load + 1 - place.worker.capacity
        return max(0, over) * self._costs.answer / place.worker.capacity

    def _sticky(self, model: str, group: Group, session: str) -> WarmPlace | None:
        """The session's own place, or the next one that is not overloaded.

        A place below a fourth of its capacity is never overloaded: with few requests, the mean
        is one or two, and every second session would lose its prefix.
        """
        bound = ceil(self._costs.slack * (group.load + 1) / len(group.places))
        own = hashed(session)
        order: Iterable[WarmPlace]
        if len(group.places) <= _RANKED:
            order = sorted(group.places, key=lambda one: _mixed(own ^ one.worker.number))
        else:
            order = self._along_the_ring(model, own)
        return next(
            (one for one in order if one.load < max(bound, one.worker.capacity // _LIGHT)), None
        )

    def _along_the_ring(self, model: str, own: int) -> Iterator[WarmPlace]:
        """A few of many places, starting at the hash `own`."""
        walked = (self._workers[name] for name in islice(self._ring.walk(own), _FAR))
        places = (one.models[model] for one in walked if model in one.models)
        return islice(places, _SAMPLE)

    def _cold(self, model: str, reason: Why) -> Choice | None:
        """A worker for a cold model: its own on the ring, or the next that is not overloaded.

        A worker with room is preferred.
        """
        members = len(self._workers)
        if not members:
            return None
        load = ceil(self._costs.slack * (self._load + 1) / members)
        starting = ceil(self._costs.slack * (self._starting + 1) / members)
        walked, fit = list[Member](), list[Member]()
        for name in islice(self._ring.walk(hashed(model)), _STEPS):
            worker = self._workers[name]
            if model in worker.models:
                continue
            walked.append(worker)
            if (
                worker.load < max(load, worker.capacity // _LIGHT)
                and worker.starting < starting
            ):
                fit.append(worker)
                if worker.room or len(fit) == _TRIED:
                    break
        if not walked:
            return None
        if not fit:
            chosen = min(walked, key=lambda one: (one.starting, one.load, one.number))
        else:
            chosen = fit[-1] if fit[-1].room else fit[0]
        others = [one.name for one in walked if one is not chosen]
        return Choice(chosen.name, reason, tuple(others[:2]))

    def _start_at(self, name: str) -> float:
        return self._costs.start * (1 + self._workers[name].starting)


def _mixed(number: int) -> int:
    """Mix 64 bits: the rank of a place for a session."""
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
    return ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _BITS
