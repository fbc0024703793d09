"""The state of the pool at one moment, as the operator is shown it. Plain values.

`router/scheduler/survey.py` makes them. Times are in seconds by the pool's clock, memory in
bytes. Callers are shown by the first characters of their digests; None is the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.models import EngineKey, EngineSpec
from router.scheduler.forecast import Download, Forecast
from router.scheduler.lifecycle import State
from router.scheduler.track import LastFailure, LastStart


@dataclass(frozen=True, slots=True)
class CallersShare:
    """How many requests are one caller's."""

    caller: str | None
    requests: int


@dataclass(frozen=True, slots=True)
class RequestsReport:
    """Requests that are in flight or wait. `callers`: those with the most, the first of them;
    `more_callers`: how many others there are."""

    requests: int = 0
    callers: tuple[CallersShare, ...] = ()
    more_callers: int = 0


@dataclass(frozen=True, slots=True)
class WaitReport:
    """Why requests wait for a model. `leaving`: the engines that make room for it; empty where
    none has to, or not enough can. `gives_up_at`: when the first of the requests does."""

    forecast: Forecast
    leaving: tuple[EngineKey, ...]
    gives_up_at: float


@dataclass(frozen=True, slots=True)
class StandbyReport:
    """A process that was started ahead. `stood_at`: since when it waits at its gate; None: it
    is not there yet."""

    generation: int
    since: float
    stood_at: float | None


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One model with its flags, and its engine if it has one."""

    key: EngineKey
    spec: EngineSpec
    state: State
    since: float  # when it entered this state
    generation: int  # of the engine; 0: it never had one
    size: int  # of the model's files; 0: not known yet
    claim: int  # of each of its devices
    held: int  # of each of its devices, what counts against the budget now
    tokens: int | None  # of the cache, as planned; None: what fits
    devices: tuple[int, ...]  # where it holds memory
    in_flight: RequestsReport
    waiting: RequestsReport
    wait: WaitReport | None  # None: no request waits
    download: Download | None  # None: none runs
    standby: StandbyReport | None
    pinned: bool
    unloads: bool  # the operator does not want it: it stops as soon as it can
    last_used: float | None  # None: never
    expires_at: float | None  # None: it does not, or not yet
    evicted_next: int | None  # 1: the first to make room; None: it never does, or is not up
    starts: int
    last_start: LastStart | None
    failures: int  # in a row
    last_failure: LastFailure | None
    retry_at: float | None  # when it may start again; None: now
    suspected_until: float | None  # one caller at a time uses it, after a crash; None: all may


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The memory of one device. `free`: as measured at `measured_at`; None: not yet."""

    index: int
    budget: int
    held: int  # by engines
    standby: int  # by processes at their gates, as it is counted
    written_off: int  # missing since an engine ended
    free: int | None
    measured_at: float | None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """`more_engines`: how many there are beyond those that are shown."""

    now: float
    engines: tuple[EngineReport, ...]
    more_engines: int
    devices: tuple[DeviceReport, ...]
    loaded: int  # engines that take or have all of their memory
    waiting: int  # requests, for all models
    shutting_down: bool

    @property
    def moves(self) -> bool:
        """Whether time alone changes what is shown: a model is loaded, or waited for."""
        return any(
            one.state.loading or one.download or one.wait or one.retry_at
            for one in self.engines
        )
