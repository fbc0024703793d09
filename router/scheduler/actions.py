"""What the pool is to do. Plain values that the machine returns and the executor performs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey, EngineSpec


@dataclass(frozen=True, slots=True)
class Allotment:
    """The accelerator memory that one start may count on, in bytes."""

    claim: int  # what the pool has set aside for this engine
    free: int  # what was measured free just before the start
    whole: bool  # the engine has the accelerator to itself
    smaller: bool = False  # the start before this one ran out of memory


@dataclass(frozen=True, slots=True)
class Grant:
    waiter: int
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Fail:
    waiter: int
    error: RouterError


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download with the credential of the waiter `payer`."""

    spec: EngineSpec
    attempt: int
    payer: int
    caller: str | None  # of that waiter


@dataclass(frozen=True, slots=True)
class CancelFetch:
    key: EngineKey
    attempt: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure free memory and report it: something could start."""


@dataclass(frozen=True, slots=True)
class Start:
    spec: EngineSpec
    generation: int
    snapshot: Path
    allotment: Allotment


@dataclass(frozen=True, slots=True)
class Stop:
    """End the engine, or its start, and report when it is gone."""

    key: EngineKey
    generation: int
    why: str
    at_once: bool  # it is dead, stalled, or its time is over: no grace


@dataclass(frozen=True, slots=True)
class Probe:
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """For the operator, loudly. `leave`: the machine is at fault, stop taking work."""

    message: str
    leave: bool = False


Action = Grant | Fail | Fetch | CancelFetch | Measure | Start | Stop | Probe | Alarm
