"""Traces of requests: their times, models, callers and tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.simulation.hardware import Hardware, Model


@dataclass(frozen=True, slots=True)
class Arrival:
    at: float  # seconds from the beginning
    model: int  # index into the trace's models
    caller: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ArrivalTrace:
    name: str
    title: str
    machine: Hardware
    models: tuple[Model, ...]
    requests: tuple[Arrival, ...] = field(repr=False)  # sorted by time
    lasts: float
