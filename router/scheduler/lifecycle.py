"""The life of an engine, as a table.

Rules that the table can't say:

* Waiting requests are data, not a state. Requests for an engine that is not READY wait.
* A claim counts against the memory budget from STARTING until the process group is gone
  *and* its memory was measured free: DRAINING and STOPPING free nothing. An engine that is
  ASLEEP holds what it could not give back.
* Each start has a generation, a number that is never used again. Reports carry it, and a
  report about an earlier generation is ignored: a late crash report can't kill a successor.
* An engine with requests in flight stops by one of the causes in `CUTS_OFF`, and by no other.
* DRAIN to make room ends with EVICTED, once the engine is idle and memory may change hands,
  or with REVIVED, when the room is no longer needed. DRAIN for a shutdown ends with DRAINED
  or DRAIN_TIMEOUT.
* UNLOADED is for an engine that the operator does not want: at once where it starts, wakes or
  falls asleep, else once it is idle and memory may change hands, after a DRAIN.
* EXPIRED is for an idle engine: unused for its `idle_ttl`, or yielded by quota.
* An illegal cause raises `IllegalTransition` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class State(StrEnum):
    COLD = "cold"
    FETCHING = "fetching"
    FETCHED = "fetched"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    FALLING_ASLEEP = "falling asleep"
    ASLEEP = "asleep"
    WAKING = "waking"

    @property
    def claims(self) -> bool:
        """Whether an engine in this state counts against the memory budget."""
        return self in _CLAIMING

    @property
    def loading(self) -> bool:
        """Whether the engine takes or frees memory. Two at once would measure each other."""
        return self in _LOADING


_CLAIMING = frozenset(set(State) - {State.COLD, State.FETCHING, State.FETCHED})
_LOADING = frozenset({State.STARTING, State.STOPPING, State.FALLING_ASLEEP, State.WAKING})


class Cause(StrEnum):
    """Why an engine leaves a state."""

    WANTED = "wanted"
    VERIFIED = "verified on disk"
    FETCH_FAILED = "fetch failed"
    ABANDONED = "abandoned"  # no request waits for this download or start
    FORGOTTEN = "snapshot forgotten"
    ADMITTED = "admitted"
    HEALTHY = "healthy"
    START_FAILED = "start failed"
    EVICTED = "evicted"
    EXPIRED = "expired"
    DRAIN = "told to drain"
    REVIVED = "revived"
    DRAINED = "drained"
    DRAIN_TIMEOUT = "drain deadline"
    CRASHED = "crashed"
    SHUT_DOWN = "shutdown"
    SLEEP = "told to sleep"
    SLEPT = "fell asleep"
    WAKE = "told to wake"
    AWAKE = "woke"
    UNLOADED = "unloaded"
    GONE = "gone"
    VERIFY_FILES = "gone, files to be verified"


CUTS_OFF = frozenset({Cause.CRASHED, Cause.DRAIN_TIMEOUT})

TABLE: Mapping[State, Mapping[Cause, State]] = {
    State.COLD: {Cause.WANTED: State.FETCHING},
    State.FETCHING: {
        Cause.VERIFIED: State.FETCHED,
        Cause.FETCH_FAILED: State.COLD,
        Cause.ABANDONED: State.COLD,
        Cause.SHUT_DOWN: State.COLD,
    },
    State.FETCHED: {Cause.ADMITTED: State.STARTING, Cause.FORGOTTEN: State.COLD},
    State.STARTING: {
        Cause.HEALTHY: State.READY,
        Cause.START_FAILED: State.STOPPING,
        Cause.ABANDONED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
        Cause.UNLOADED: State.STOPPING,
    },
    State.READY: {
        Cause.EVICTED: State.STOPPING,
        Cause.EXPIRED: State.STOPPING,
        Cause.DRAIN: State.DRAINING,
        Cause.SLEEP: State.FALLING_ASLEEP,
        Cause.CRASHED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
    },
    State.DRAINING: {
        Cause.EVICTED: State.STOPPING,
        Cause.SLEEP: State.FALLING_ASLEEP,
        Cause.REVIVED: State.READY,
        Cause.DRAINED: State.STOPPING,
        Cause.DRAIN_TIMEOUT: State.STOPPING,
        Cause.CRASHED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
        Cause.UNLOADED: State.STOPPING,
    },
    State.FALLING_ASLEEP: {
        Cause.SLEPT: State.ASLEEP,
        Cause.CRASHED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
        Cause.UNLOADED: State.STOPPING,
    },
    State.ASLEEP: {
        Cause.WAKE: State.WAKING,
        Cause.EVICTED: State.STOPPING,
        Cause.EXPIRED: State.STOPPING,
        Cause.CRASHED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
        Cause.UNLOADED: State.STOPPING,
    },
    State.WAKING: {
        Cause.AWAKE: State.READY,
        Cause.CRASHED: State.STOPPING,
        Cause.SHUT_DOWN: State.STOPPING,
        Cause.UNLOADED: State.STOPPING,
    },
    State.STOPPING: {Cause.GONE: State.FETCHED, Cause.VERIFY_FILES: State.COLD},
}


class IllegalTransition(Exception):
    """A defect of the scheduler: this cause has no meaning in this state.

    `story`: what the engine saw last, one line each, the latest last.
    """

    def __init__(
        self, state: State, cause: Cause, engine: str = "an engine", story: Iterable[str] = ()
    ) -> None:
        lines = [f"{engine}: {cause.name} in {state.name}", *story]
        super().__init__("\n  ".join(lines))


def after(state: State, cause: Cause) -> State:
    """Return the state that follows; raises `IllegalTransition`."""
    try:
        return TABLE[state][cause]
    except KeyError:
        raise IllegalTransition(state, cause) from None
