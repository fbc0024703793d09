"""What the scheduler is told. Plain values, so that an incident can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from router.errors import RouterError
from router.models import EngineKey, EngineSpec, MemoryPlan
from router.scheduler.history import Fact

DIGEST_SHOWN = 12  # characters of a digest that tell one from another


# From callers. Tuples where each request makes one: they are made in a third of the time.
class Wanted(NamedTuple):
    """A request that needs an engine: it waits, and then holds a lease."""

    waiter: int  # a number that is given once
    age: int  # orders the queue; a request that is tried again keeps the age it had
    spec: EngineSpec
    credential_digest: str  # of the token that may download the model; "" is anonymous
    deadline: float  # when it stops waiting, by the pool's clock
    caller: str | None = (
        None  # it counts against this caller's limits; None: the operator's own
    )

    @property
    def retried(self) -> bool:
        """It had a place before."""
        return self.age != self.waiter


@dataclass(frozen=True, slots=True)
class Left:
    """A request stopped waiting, or never used the engine that it was granted."""

    waiter: int


class Released(NamedTuple):
    """A lease ended."""

    waiter: int
    answered: bool  # with a whole answer from the engine


# From the operator.
@dataclass(frozen=True, slots=True)
class Unload:
    """A model's engine is to stop: now if it is idle, else after its requests in flight. It
    does not come back until a request asks for it. It is no longer pinned by `Pin`."""

    key: EngineKey


@dataclass(frozen=True, slots=True)
class Pin:
    """A model's engine is never to make room, nor to expire, until `Unpin`."""

    key: EngineKey


@dataclass(frozen=True, slots=True)
class Unpin:
    key: EngineKey


@dataclass(frozen=True, slots=True)
class Ruled:
    """The operator has changed, for these models, what the router keeps to by itself
    (`EngineSpec.ruled_as`). All in one event, so that no group is seen half changed."""

    specs: tuple[EngineSpec, ...]


# From the tasks that carry the actions out.
@dataclass(frozen=True, slots=True)
class Described:
    """The small files of a model are on disk (configuration, tokenizer); its weights come."""

    key: EngineKey
    attempt: int
    snapshot: Path
    plan: MemoryPlan | None = None  # None: its files do not tell


@dataclass(frozen=True, slots=True)
class Fetched:
    key: EngineKey
    attempt: int
    snapshot: Path
    size: int = 0  # bytes of all its files
    plan: MemoryPlan | None = None  # None: its files do not tell


@dataclass(frozen=True, slots=True)
class FetchFailed:
    key: EngineKey
    attempt: int
    error: RouterError
    blames_credential: bool


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Bytes were downloaded for a caller, whether or not the download succeeded."""

    caller: str
    size: int


@dataclass(frozen=True, slots=True)
class ForgetSnapshot:
    """The files of a model are about to be removed, unless an engine uses or needs them."""

    repo_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The free memory of each device, measured for the pass that this event makes."""

    free: int  # bytes of the first device
    others: tuple[int, ...] = ()  # bytes of the others, in order; empty: as much


@dataclass(frozen=True, slots=True)
class Standing:
    """A process that was prestarted waits at its gate: it has loaded no weights yet."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Asleep:
    """An engine has given its memory back, but for `left`; its weights are in the host's."""

    key: EngineKey
    generation: int
    missing: int  # bytes of its device that should be free and are not
    left: int = 0  # bytes of each of its devices that it holds while asleep
    others: tuple[int, ...] = ()  # missing of its other devices, in order; empty: as much


@dataclass(frozen=True, slots=True)
class Awake:
    """An engine that slept has its memory again, and answers."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class Healthy:
    key: EngineKey
    generation: int
    taken: int | None = None  # bytes of each device, as measured; None: no telling


@dataclass(frozen=True, slots=True)
class StartFailed:
    key: EngineKey
    generation: int
    reason: str  # for the operator
    out_of_memory: bool
    told: str = ""  # what callers may hear of it
    unsupported: bool = False  # no further start would help


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
    missing: int  # bytes of its device that should be free and are not
    others: tuple[int, ...] = ()  # of its other devices, in order; empty: as much


@dataclass(frozen=True, slots=True)
class Stuck:
    """The process group survived SIGKILL."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class ShutDown:
    deadline: float  # when requests still in flight are cut off


@dataclass(frozen=True, slots=True)
class Thawed:
    """The worker was frozen: what is known about the engines is out of date."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Other workers on the volume have measured what this one has not: for estimates alone."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


# What came of an action, for one engine.
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
    """The event as logs and traces may show it: with the first characters of each digest."""
    if isinstance(event, Wanted):
        return event._replace(
            credential_digest=event.credential_digest[:DIGEST_SHOWN],
            caller=event.caller and event.caller[:DIGEST_SHOWN],
        )
    if isinstance(event, Downloaded):
        return replace(event, caller=event.caller[:DIGEST_SHOWN])
    return event
