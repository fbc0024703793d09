"""What a worker tells of itself, and what deciding about it costs. Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Warmth(StrEnum):
    """How near a model is to answering. One that a worker does not tell of is cold there."""

    LOADED = "loaded"
    SLEEPING = "sleeping"  # its weights are in the host's memory
    LOADING = "loading"  # downloaded or started now


@dataclass(frozen=True, slots=True)
class Warm:
    """One model on one worker."""

    state: Warmth
    load: int = 0  # its requests there, in flight and waiting


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """The state of one worker.

    * `models`: those that are not cold, by any name that requests are routed by.
    * `in_flight`, `waiting`: requests of all models.
    * `capacity`: requests that one model answers at once.
    * `room`: it can load another model and stop none that is in use or was used just now.
    """

    models: Mapping[str, Warm] = field(default_factory=dict)
    in_flight: int = 0
    waiting: int = 0
    capacity: int = 64
    room: bool = True


@dataclass(frozen=True, slots=True)
class Costs:
    """In seconds, as far as known; `slack` is a factor.

    A request waits at a warm worker until that costs more than a cold start elsewhere. No
    worker gets a cold model, or keeps a session, while it has more than `slack` times the mean.
    """

    start: float = 40.0
    wake: float = 2.0
    answer: float = 5.0
    slack: float = 1.25
