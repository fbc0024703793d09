"""A worker's report about itself, and the costs for routing. Only values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Warmth(StrEnum):
    """How close a model is to answering. A model that is not in a report is cold."""

    LOADED = "loaded"
    SLEEPING = "sleeping"  # its weights are in the host's memory
    LOADING = "loading"  # being downloaded or started


@dataclass(frozen=True, slots=True)
class Warm:
    """One warm model on one worker."""

    state: Warmth
    load: int = 0  # its requests on that worker, in flight and waiting


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The state of one worker.

    * `models`: the models that are not cold, by the names that requests are routed by.
    * `in_flight`, `waiting`: requests for all models.
    * `capacity`: requests that one model answers at once.
    * `room`: whether it can load another model without stopping one in use, or just used.
    """

    models: Mapping[str, Warm] = field(default_factory=dict)
    in_flight: int = 0
    waiting: int = 0
    capacity: int = 64
    room: bool = True


@dataclass(frozen=True, slots=True)
class Costs:
    """Estimated seconds; `slack` is a factor.

    A request waits at a warm worker unless that takes longer than a cold start elsewhere. A
    worker with more than `slack` times the mean load gets no cold model, and its sessions move.
    """

    start: float = 40.0
    wake: float = 2.0
    answer: float = 5.0
    slack: float = 1.25
