"""The events that the scheduler handles. Plain values, so that an incident can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from router.errors import RouterError
from router.models import EngineKey, EngineSpec, MemoryPlan
from router.scheduler.history import Fact

DIGEST_SHOWN = 12  # characters of a digest that logs show; enough to tell digests apart


# Events from callers. Those that each request makes are tuples, which take a third of the time
# to create.
class Wanted(NamedTuple):
    """A request needs an engine: it waits, and then holds a lease."""

    waiter: int  # a unique number
    age: int  # orders the queue; a retried request keeps its age
    spec: EngineSpec
    credential_digest: str  # of the token that may download the model; "" for anonymous
    deadline: float  # when it stops waiting, by the pool's clock
    caller: str | None = None  # whose limits it counts against; None: the operator's own

    @property
    def retried(self) -> bool:
        """Whether it is a retry, which had a place before."""
        return self.age != self.waiter


@dataclass(frozen=True, slots=True)
class Left:
    """A request stopped waiting, or never used the engine that it was granted."""

    waiter: int


class Released(NamedTuple):
    """A lease ended."""

    waiter: int
    answered: bool  # with a complete answer from the engine


# Events from the operator.
@dataclass(frozen=True, slots=True)
class Unload:
    """The operator unloads a model: its engine stops after its requests in flight.

    It starts again only when a request asks for it. This also cancels `Pin`.
    """

    key: EngineKey


@dataclass(frozen=True, slots=True)
class Pin:
    """The operator pins a model: its engine is not evicted and does not expire until
    `Unpin`."""

    key: EngineKey


@dataclass(frozen=True, slots=True)
class Unpin:
    key: EngineKey


@dataclass(frozen=True, slots=True)
class Ruled:
    """The operator has changed the router's own rules for these models (`EngineSpec.ruled_as`).

    One event holds all changes, so that no group is ever half changed.
    """

    specs: tuple[EngineSpec, ...]


# Events from the tasks that carry out actions.
@dataclass(frozen=True, slots=True)
class Described:
    """The small files of a model are on disk (configuration, tokenizer). Its weights are still
    being downloaded."""

    key: EngineKey
    attempt: int
    snapshot: Path
    plan: MemoryPlan | None = None  # None: the files do not determine it


@dataclass(frozen=True, slots=True)
class Fetched:
    key: EngineKey
    attempt: int
    snapshot: Path
    size: int = 0  # bytes of all its files
    plan: MemoryPlan | None = None  # None: the files do not determine it


@dataclass(frozen=True, slots=True)
class FetchFailed:
    key: EngineKey
    attempt: int
    error: RouterError
    blames_credential: bool


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Bytes were downloaded for a caller, even if the download failed."""

    caller: str
    size: int


@dataclass(frozen=True, slots=True)
class ForgetSnapshot:
    """The files of a model will be removed, unless an engine uses or needs them."""

    repo_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The free memory of each device. A pass with this event may start an engine."""

    free: int  # bytes of the first device
    others: tuple[int, ...] = ()  # bytes of the other devices, in order; empty: the same


@dataclass(frozen=True, slots=True)
class Standing:
    """A prestarted process waits at its gate and has loaded no weights yet."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Asleep:
    """An engine has released its device memory, except for `left`, and sleeps."""

    key: EngineKey
    generation: int
    missing: int  # bytes of its first device that should be free but are not
    left: int = 0  # bytes of each of its devices that it holds while asleep
    others: tuple[int, ...] = ()  # `missing` for its other devices, in order; empty: the same


@dataclass(frozen=True, slots=True)
class Awake:
    """An engine that slept has its memory back and answers."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Healthy:
    key: EngineKey
    generation: int
    taken: int | None = None  # measured bytes of each device; None: unknown


@dataclass(frozen=True, slots=True)
class StartFailed:
    key: EngineKey
    generation: int
    reason: str  # for the operator
    out_of_memory: bool
    told: str = ""  # what callers may read about it
    unsupported: bool = False  # another start would fail, too


@dataclass(frozen=True, slots=True)
class Responded:
    """A probed engine still generates."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process ended by itself, or the engine stalled."""

    key: EngineKey
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The process group is gone, and the free memory was measured."""

    key: EngineKey
    generation: int
    missing: int  # bytes of its first device that should be free but are not
    others: tuple[int, ...] = ()  # for its other devices, in order; empty: the same


@dataclass(frozen=True, slots=True)
class Stuck:
    """The process group survived SIGKILL."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class ShutDown:
    deadline: float  # when the remaining requests are cut off


@dataclass(frozen=True, slots=True)
class Thawed:
    """The worker was frozen, so what is known about its engines is out of date."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Measurements by other workers on the same volume, used only for estimates."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


# Reports on an action, for one engine.
Report = (
    Described
    | Fetched
    | FetchFailed
    | Standing
    | Healthy
    | Asleep
    | Awake
    | StartFailed
    | Responded
    | Crashed
    | Gone
    | Stuck
)

Event = (
    Wanted
    | Left
    | Released
    | Unload
    | Pin
    | Unpin
    | Ruled
    | Downloaded
    | ForgetSnapshot
    | Measured
    | Report
    | ShutDown
    | Thawed
    | Learned
    | Tick
)


def abridged(event: Event) -> Event:
    """Shorten the digests of an event, for logs and traces."""
    if isinstance(event, Wanted):
        return event._replace(
            credential_digest=event.credential_digest[:DIGEST_SHOWN],
            caller=event.caller and event.caller[:DIGEST_SHOWN],
        )
    if isinstance(event, Downloaded):
        return replace(event, caller=event.caller[:DIGEST_SHOWN])
    return event
