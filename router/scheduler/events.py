"""What the pool is told, and what it orders. Plain values: an incident can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey, EngineSpec


# From callers. `waiter` is a number given once; `age` orders the queue, and a request
# that is tried again keeps the age it had.
@dataclass(frozen=True, slots=True)
class Wanted:
    waiter: int
    age: int
    spec: EngineSpec
    payer: str  # digest of the credential that may pay for a download; "" is anonymous
    deadline: float  # when it stops waiting
    caller: str | None = None  # whose limits it counts against; None: the operator's own


@dataclass(frozen=True, slots=True)
class Left:
    """A waiter went away, also one that was granted an engine and never used it."""

    waiter: int


@dataclass(frozen=True, slots=True)
class Released:
    """A lease ended; `answered`: with a whole answer from the engine."""

    waiter: int
    answered: bool


# From the tasks that carry the actions out.
@dataclass(frozen=True, slots=True)
class Fetched:
    key: EngineKey
    attempt: int
    snapshot: Path


@dataclass(frozen=True, slots=True)
class FetchFailed:
    key: EngineKey
    attempt: int
    error: RouterError
    blames_credential: bool


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Bytes came to the disk on behalf of a caller, whatever became of the download."""

    caller: str
    size: int


@dataclass(frozen=True, slots=True)
class FilesRemoved:
    """The files of a model that nothing is up or on its way with are about to go."""

    repo_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes free on the device, measured for the pass that this event makes."""

    free: int


@dataclass(frozen=True, slots=True)
class Healthy:
    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    key: EngineKey
    generation: int
    reason: str
    out_of_memory: bool


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
    """The process group is gone and the memory was measured.

    `missing`: bytes that should be free by all that is known, and are not.
    """

    key: EngineKey
    generation: int
    missing: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """The process group survived SIGKILL."""

    key: EngineKey
    generation: int


@dataclass(frozen=True, slots=True)
class ShutDown:
    deadline: float  # when streams that still run are cut


@dataclass(frozen=True, slots=True)
class Thawed:
    """Nothing ran for a while: what was known of the engines is old."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Wanted
    | Left
    | Released
    | Fetched
    | FetchFailed
    | Downloaded
    | FilesRemoved
    | Measured
    | Healthy
    | StartFailed
    | Responded
    | Crashed
    | Gone
    | Stuck
    | ShutDown
    | Thawed
    | Tick
)
