"""The states of an engine and their transitions, as a table.

Rules that the table can't express:

* Waiting requests are data, not a state. Requests wait while their engine is not READY.
* A claim counts against the memory budget from STARTING until the process group is gone *and*
  its memory was measured free. DRAINING and STOPPING free nothing. An ASLEEP engine holds what
  it could not release.
* Each start has a generation, a number that is never used again. Reports carry it, and the
  scheduler ignores reports about an earlier generation: a late crash report can't stop a
  successor.
* An engine with requests in flight stops only by one of the causes in `CUTS_OFF`.
* A DRAIN to make room ends with EVICTED when the engine is idle and no other memory changes
  hands, or with REVIVED when the room is no longer needed. A DRAIN for a shutdown ends with
  DRAINED or DRAIN_TIMEOUT.
* UNLOADED stops an engine that the operator unloads: at once if it is starting, waking or
  falling asleep, else after a DRAIN, like EVICTED.
* EXPIRED stops an idle engine that was unused for its `idle_ttl`, or was yielded by quota.
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
        """Whether the engine takes or frees memory. Two at once would disturb measurements."""
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
    """A defect of the scheduler: this cause is illegal in this state.

    `story`: the engine's last events, one per line, oldest first.
    """

    def __init__(
        self, state: State, cause: Cause, engine: str = "an engine", story: Iterable[str] = ()
    ) -> None:
        lines = [f"{engine}: {cause.name} in {state.name}", *story]
        super().__init__("\n  ".join(lines))


def after(state: State, cause: Cause) -> State:
    """Return the next state. Raises `IllegalTransition`."""
    try:
        return TABLE[state][cause]
    except KeyError:
        raise IllegalTransition(state, cause) from None
