"""The pool's state: what the scheduler knows, and what only the pool can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.models import EngineSpec
from router.scheduler.lifecycle import State
from router.scheduler.report import PoolReport


class Known(NamedTuple):
    """A model that was asked for. `wanted`: requests wait for it."""

    spec: EngineSpec
    state: State
    wanted: bool


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """By generation: `measured`, the bytes of the device that an engine holds, at most its
    claim; `context_lengths`, the tokens that it takes, None where it does not say; and
    `phases`, the seconds that parts of its start took."""

    report: PoolReport
    measured: Mapping[int, int]
    context_lengths: Mapping[int, int | None]
    phases: Mapping[int, Mapping[str, float]]
