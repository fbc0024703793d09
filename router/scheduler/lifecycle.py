"""The life of an engine, as a table.

Rules that the table cannot say:

* Waiters are data, not a state. Requests for an engine that is not READY wait.
* A claim counts against the memory budget from STARTING until the process group is
  gone *and* its memory was measured free: DRAINING and STOPPING free nothing.
* Every engine has an generation, one higher at each start. Reports carry it, and a
  stale one is ignored, so that a late crash report can't kill its successor.
* An illegal cause raises `IllegalTransition` and changes nothing.
* RETIRED to make room can be undone (REVIVED) until the engine is idle and its turn to
  stop has come; RETIRED for shutdown can't.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    COLD = "cold"
    FETCHING = "fetching"
    FETCHED = "fetched"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"

    @property
    def claims(self) -> bool:
        """Whether an engine in this state counts against the memory budget."""
        return self in _CLAIMING

    @property
    def loading(self) -> bool:
        """Whether memory is changing hands: one at a time, or they measure each other."""
        return self in (State.STARTING, State.STOPPING)


_CLAIMING = frozenset({State.STARTING, State.READY, State.DRAINING, State.STOPPING})


class Cause(StrEnum):
    """Why an engine leaves a state."""

    WANTED = "wanted"
    VERIFIED = "verified on disk"
    FETCH_FAILED = "fetch failed"
    ABANDONED = "abandoned"  # nobody waits any more, or the worker is leaving
    ADMITTED = "admitted"
    HEALTHY = "healthy"
    START_FAILED = "start failed"
    EVICTED = "retired idle"
    RETIRED_BUSY = "retired busy"
    REVIVED = "revived"
    DRAINED = "drained"
    EXPIRED = "drain deadline"
    CRASHED = "crashed"
    GONE = "gone"
    VERIFY_FILES = "gone, its files in doubt"
    REMOVED = "files removed"


TABLE: Mapping[State, Mapping[Cause, State]] = {
    State.COLD: {Cause.WANTED: State.FETCHING},
    State.FETCHING: {
        Cause.VERIFIED: State.FETCHED,
        Cause.FETCH_FAILED: State.COLD,
        Cause.ABANDONED: State.COLD,
    },
    State.FETCHED: {Cause.ADMITTED: State.STARTING, Cause.REMOVED: State.COLD},
    State.STARTING: {
        Cause.HEALTHY: State.READY,
        Cause.START_FAILED: State.STOPPING,
        Cause.ABANDONED: State.STOPPING,
    },
    State.READY: {
        Cause.EVICTED: State.STOPPING,
        Cause.RETIRED_BUSY: State.DRAINING,
        Cause.CRASHED: State.STOPPING,
    },
    State.DRAINING: {
        Cause.DRAINED: State.STOPPING,
        Cause.REVIVED: State.READY,
        Cause.EXPIRED: State.STOPPING,
        Cause.CRASHED: State.STOPPING,
    },
    State.STOPPING: {Cause.GONE: State.FETCHED, Cause.VERIFY_FILES: State.COLD},
}


class IllegalTransition(Exception):
    """A defect of the caller: this cause has no meaning in this state."""


def after(state: State, cause: Cause) -> State:
    """Return the state that follows; raises `IllegalTransition`."""
    try:
        return TABLE[state][cause]
    except KeyError:
        raise IllegalTransition(f"{cause.name} in {state.name}") from None
