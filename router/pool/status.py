"""The pool's state: what the scheduler knows, and what only the pool knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.models import EngineSpec
from router.scheduler.lifecycle import State
from router.scheduler.report import PoolReport


class Known(NamedTuple):
    """A model that was requested. `wanted`: requests wait for it."""

    spec: EngineSpec
    state: State
    wanted: bool


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The pool's state. The mappings are by generation.

    * `measured`: bytes of the device that an engine holds, at most its claim.
    * `context_lengths`: tokens; None if the engine does not say.
    * `phases`: seconds that parts of its start took.
    """

    report: PoolReport
    measured: Mapping[int, int]
    context_lengths: Mapping[int, int | None]
    phases: Mapping[int, Mapping[str, float]]
