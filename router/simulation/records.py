"""The records of a simulated world about its requests and engines."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from router.models import EngineKey
from router.simulation.hardware import Model


@dataclass(slots=True, eq=False)
class RequestOutcome:
    """The outcome of one request. Times are in seconds."""

    at: float
    model: int
    tokens: int = 0
    granted: float | None = None
    ended: float | None = None
    failed: str | None = None  # the error's code

    @property
    def waits(self) -> bool:
        return self.granted is None and self.failed is None


@dataclass(slots=True, eq=False)
class SimulatedEngine:
    key: EngineKey
    model: Model
    standing_at: float = inf  # when the process reaches its gate
    started: bool = False  # past its gate
    healthy: bool = False
    stopping: bool = False
    sleeps: bool = False
    in_flight: int = 0
    used: float = 0.0  # when a request last began or ended
    devices: tuple[int, ...] = (0,)

    @property
    def answers(self) -> bool:
        return self.healthy and not self.stopping


@dataclass(slots=True)
class Totals:
    cold_starts: int = 0
    prestarts: int = 0
    sleeps: int = 0
    wakes: int = 0


class OpenRequests:
    """Counts requests that wait or are in flight, by model, and the time with at least one."""

    def __init__(self) -> None:
        self.by_model: dict[int, int] = {}
        self.count = 0
        self.busy = 0.0  # seconds with at least one
        self._since = 0.0

    def begin(self, model: int, now: float) -> None:
        if not self.count:
            self._since = now
        self.count += 1
        self.by_model[model] = self.by_model.get(model, 0) + 1

    def end(self, model: int, now: float) -> None:
        self.count -= 1
        self.by_model[model] -= 1
        if not self.by_model[model]:
            del self.by_model[model]
        if not self.count:
            self.busy += now - self._since
