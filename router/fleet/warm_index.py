"""An index of the workers that have a model warm. A decision looks only at these."""

from __future__ import annotations

import random
from collections.abc import Sequence

from router.fleet.report import Warmth, WorkerReport

_ALL = 4  # compare all places up to this number; with more, a sample
_SAMPLE = 2  # the better of two random places is nearly as good as the best


class Member:
    """One worker: its last report, and the counts since then."""

    __slots__ = ("capacity", "load", "models", "name", "number", "room", "starting")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number  # `number`: the hash of its name
        self.models: dict[str, WarmPlace] = {}
        self.load = self.starting = 0
        self.capacity, self.room = 1, True

    def take(self, report: WorkerReport) -> None:
        self.load = report.in_flight + report.waiting
        self.capacity, self.room = max(1, report.capacity), report.room
        self.starting = sum(one.state is Warmth.LOADING for one in report.models.values())


class WarmPlace:
    """One model on one worker that has it warm."""

    __slots__ = ("guessed", "load", "position", "state", "worker")

    def __init__(self, worker: Member, state: Warmth, load: int, position: int) -> None:
        self.worker, self.state, self.load = worker, state, load
        self.position = position  # in its group
        self.guessed = False  # from a request sent there; the worker has not reported it


class Group:
    """The places of one model."""

    __slots__ = ("load", "places")

    def __init__(self) -> None:
        self.places: list[WarmPlace] = []
        self.load = 0  # requests at all places

    def some(self, rng: random.Random, count: int = _SAMPLE) -> Sequence[WarmPlace]:
        """All places if they are few, else a random sample of `count`."""
        if len(self.places) <= _ALL:
            return self.places
        return rng.sample(self.places, min(count, len(self.places)))


class WarmIndex:
    """Places by model, kept up to date from reports."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def group(self, model: str) -> Group | None:
        return self._groups.get(model)

    def take(self, worker: Member, report: WorkerReport) -> None:
        """Apply a report. Changes only what differs."""
        for model in [model for model in worker.models if model not in report.models]:
            self._remove(worker, model)
        for model, warm in report.models.items():
            place = worker.models.get(model)
            if place is None:
                self._add(worker, model, warm.state, warm.load)
            else:
                self._groups[model].load += warm.load - place.load
                place.state, place.load, place.guessed = warm.state, warm.load, False

    def sent(self, worker: Member, model: str) -> None:
        """Count a request. A cold model counts as loading from now on.

        Otherwise the requests of a burst would see a cold model until the next report, and go
        to several workers.
        """
        place = worker.models.get(model)
        if place is None:
            place = self._add(worker, model, Warmth.LOADING, 0)
            place.guessed = True
            worker.starting += 1
        place.load += 1
        self._groups[model].load += 1

    def ended(self, worker: Member, model: str) -> None:
        place = worker.models.get(model)
        if place is None or not place.load:
            return
        place.load -= 1
        self._groups[model].load -= 1
        if place.guessed and not place.load:
            worker.starting -= 1
            self._remove(worker, model)

    def forget(self, worker: Member) -> None:
        for model in tuple(worker.models):
            self._remove(worker, model)

    def _add(self, worker: Member, model: str, state: Warmth, load: int) -> WarmPlace:
        group = self._groups.setdefault(model, Group())
        place = WarmPlace(worker, state, load, len(group.places))
        group.places.append(place)
        group.load += load
        worker.models[model] = place
        return place

    def _remove(self, worker: Member, model: str) -> None:
        """Remove a place. The group's last place takes its position."""
        place, group = worker.models.pop(model), self._groups[model]
        last = group.places.pop()
        if last is not place:
            group.places[place.position], last.position = last, place.position
        group.load -= place.load
        if not group.places:
            del self._groups[model]
