"""The state of the pool at one moment, for the operator. Plain values.

`router/scheduler/make_report.py` creates them. Times are in seconds by the pool's clock, memory
is in bytes. A caller is shown by the first characters of its digest; None is the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.models import EngineKey, EngineSpec
from router.scheduler.forecast import Download, Forecast
from router.scheduler.lifecycle import State
from router.scheduler.track import LastFailure, LastStart


@dataclass(frozen=True, slots=True)
class CallersShare:
    """The number of requests of one caller."""

    caller: str | None
    requests: int


@dataclass(frozen=True, slots=True)
class RequestsReport:
    """Requests in flight or waiting. `callers` lists the callers with the most requests, in
    descending order. `more_callers` counts the others."""

    requests: int = 0
    callers: tuple[CallersShare, ...] = ()
    more_callers: int = 0


@dataclass(frozen=True, slots=True)
class WaitReport:
    """Why requests wait for a model.

    * `leaving`: the engines that make room for it; empty if none has to or not enough can.
    * `gives_up_at`: the first deadline of these requests.
    """

    forecast: Forecast
    leaving: tuple[EngineKey, ...]
    gives_up_at: float


@dataclass(frozen=True, slots=True)
class StandbyReport:
    """A prestarted process. `stood_at`: when it reached its gate; None: not yet."""

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
    size: int  # of the model's files; 0: unknown
    claim: int  # on each of its devices
    held: int  # on each of its devices, counted against the budget now
    tokens: int | None  # of the planned cache; None: as many as fit
    devices: tuple[int, ...]  # where it holds memory
    in_flight: RequestsReport
    waiting: RequestsReport
    wait: WaitReport | None  # None: no request waits
    download: Download | None  # None: no download runs
    standby: StandbyReport | None
    pinned: bool
    unloads: bool  # the operator has unloaded it, so it stops as soon as it can
    last_used: float | None  # None: never
    expires_at: float | None  # None: never, or not idle now
    evicted_next: int | None  # place in the eviction order, from 1; None: not evictable
    starts: int
    last_start: LastStart | None
    failures: int  # in a row
    last_failure: LastFailure | None
    retry_at: float | None  # when it may start again; None: now
    suspected_until: float | None  # until then, one caller at a time uses it; None: no limit


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The memory of one device. `free` was measured at `measured_at`; None: never measured."""

    index: int
    budget: int
    held: int  # by engines
    standby: int  # by prestarted processes, as estimated
    written_off: int  # missing after an engine ended
    free: int | None
    measured_at: float | None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """`more_engines`: the number of engines that are not listed."""

    now: float
    engines: tuple[EngineReport, ...]
    more_engines: int
    devices: tuple[DeviceReport, ...]
    loaded: int  # engines that take or have all of their memory
    waiting: int  # waiting requests, for all models
    shutting_down: bool

    @property
    def moves(self) -> bool:
        """Whether the report changes without an event: a model is loading or waited for."""
        return any(
            one.state.loading or one.download or one.wait or one.retry_at
            for one in self.engines
        )
