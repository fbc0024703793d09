"""What the pool knows about one engine, and about one request that wants it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey, EngineSpec
from router.scheduler.lifecycle import Cause, State, after

FIRST_BACKOFF = 1.0  # seconds after the first failure in a row, doubling ...
LONGEST_BACKOFF = 300.0  # ... up to this


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. Times in seconds, memory in bytes."""

    budget: int
    max_loaded: int | None = None  # None: one, unless every engine's memory is known
    max_queue: int = 256
    max_concurrency: int = 64  # leases per engine
    min_residency: float = 15.0
    stall_timeout: float = 120.0
    fetch_linger: float = 60.0
    # Of each caller; None: no limit of its own.
    max_queue_per_caller: int | None = None
    max_starts_per_caller: int | None = None  # a minute
    max_models_per_caller: int | None = None  # up at once, for this caller alone
    max_download_per_caller: int | None = None  # bytes an hour

    def claim(self, spec: EngineSpec, written_off: int) -> int:
        """Bytes to set aside: as the operator says, else an equal share of what there is."""
        if spec.memory is not None:
            return spec.memory
        return (self.budget - written_off) // (self.max_loaded or 1)


@dataclass(slots=True)
class Waiter:
    """A request in the queue, then a lease."""

    id: int
    age: int
    payer: str
    deadline: float
    caller: str | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """One (repo, commit, flags), whatever state its engine is in."""

    spec: EngineSpec
    claim: int
    state: State = State.COLD
    generation: int = 0
    queue: dict[int, Waiter] = field(default_factory=dict)
    leases: dict[int, Waiter] = field(default_factory=dict)
    snapshot: Path = Path()  # from FETCHED on
    # while fetching
    attempt: int = 0
    paying: str = ""
    refused: dict[str, RouterError] = field(default_factory=dict)  # this download, by payer
    linger_until: float | None = None
    # whose model it is
    starter: str | None = None  # who had it started; None: the operator, or more than one
    yielded_by_quota: bool = False  # its starter's limit says that another of theirs is to run
    # once started
    ready_at: float = 0.0
    last_used: float = 0.0
    last_progress: float = 0.0
    answered: bool = False  # this generation has given a whole answer
    probing: bool = False
    drain_deadline: float | None = None  # set where the drain is for good
    stuck: bool = False
    # failures in a row
    failures: int = 0
    retry_at: float = 0.0
    last_failure: str = ""
    smaller: bool = False  # it ran out of memory once, and has been given less since
    verify_files: bool = False  # the last start failed: the files may be gone or damaged

    @property
    def key(self) -> EngineKey:
        return self.spec.key

    @property
    def held(self) -> int:
        """Bytes that count against the budget now."""
        return self.claim if self.state.claims else 0

    @property
    def idle(self) -> bool:
        return not self.leases

    @property
    def unused(self) -> bool:
        """It is up, and nobody holds it or waits for it."""
        return self.state is State.READY and self.idle and not self.queue

    @property
    def by_age(self) -> list[Waiter]:
        return sorted(self.queue.values(), key=lambda waiter: waiter.age)

    @property
    def oldest(self) -> int:
        """Age of the oldest waiter; only where there is one."""
        return min(waiter.age for waiter in self.queue.values())

    def settled_at(self, min_residency: float) -> float:
        """When this engine may be made to leave. One that came up and served nobody,
        because all who wanted it left, has no claim to stay."""
        return self.ready_at + (min_residency if self.answered or self.leases else 0.0)

    def used_by(self, caller: str | None) -> None:
        """Note a use: what others use too is no single caller's, and stays."""
        self.yielded_by_quota = False
        if caller != self.starter:
            self.starter = None

    def move(self, cause: Cause) -> None:
        self.state = after(self.state, cause)

    def failed(self, reason: str, now: float) -> None:
        """Note a failed start or a crash, and when the next try may be."""
        self.retry_at = now + min(FIRST_BACKOFF * 2**self.failures, LONGEST_BACKOFF)
        self.failures = min(self.failures + 1, 32)
        self.last_failure = reason
