"""What the scheduler knows: the operator's limits, and one slot for each engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey, EngineSpec
from router.scheduler.events import Event, Wanted, abridged
from router.scheduler.lifecycle import Cause, State
from router.scheduler.suspicion import Suspicion
from router.scheduler.trials import Trials
from router.scheduler.waiting import Caller, Line

# Of the places of an engine that several callers use, each leaves one in eight for the others.
LEFT_FREE = 8
FEW_PLACES = 4  # an engine with fewer has none to leave free

STORY_LENGTH = 20  # each event moves an engine once or not at all: ten events or more


def left_free(places: int) -> int:
    """How many of an engine's places one caller leaves to the others."""
    return max(1, places // LEFT_FREE) if places >= FEW_PLACES else 0


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
    max_downloads: int = 2
    sleep_memory: int = 0  # of the host, for engines that sleep; 0: none does
    # For the start of a model that the operator did not name, while another caller waits;
    # None: by its size.
    contested_start_timeout: float | None = None
    # For each caller; None: no limit.
    max_concurrency_per_caller: int | None = None  # leases per engine
    max_queue_per_caller: int | None = None
    max_starts_per_caller: int | None = None  # a minute
    max_models_per_caller: int | None = None  # loaded at once, for this caller alone
    max_download_per_caller: int | None = None  # bytes an hour

    def claim(self, spec: EngineSpec, written_off: int) -> int:
        """Bytes to set aside: what the operator says, or an equal share of the budget."""
        if spec.memory is not None:
            return spec.memory
        return (self.budget - written_off) // (self.max_loaded or 1)


@dataclass(slots=True, eq=False)
class Slot:
    """One (repo, commit, flags), whatever state its engine is in.

    This is what the planner and the quotas read. Only its subclass `EngineLife`
    writes. Times are in seconds, by the pool's clock.
    """

    spec: EngineSpec  # the latest, while no engine runs on another
    claim: int  # bytes
    key: EngineKey = field(init=False)
    state: State = State.COLD
    generation: int = 0
    queue: Line = field(default_factory=Line)
    leases: dict[int, Wanted] = field(default_factory=dict)  # by waiter
    snapshot: Path = Path()  # from FETCHED on
    size: int = 0  # bytes of the snapshot
    # while fetching
    attempt: int = 0
    credential_digest: str = ""  # of the credential that this attempt downloads with
    refused: dict[str, RouterError] = field(default_factory=dict)  # by credential digest
    # while fetching or starting
    linger_until: float | None = None  # set where no request waits
    # the caller that this model belongs to
    starter: str | None = None  # it caused the start; None: the operator, or several callers
    yielded_by_quota: bool = False  # its starter's limit made it yield to another model
    # from STARTING on
    started_at: float = 0.0
    started_for: Caller = None  # the caller of the oldest request that waited then
    user: Caller = None  # the caller of its latest request, or for which it starts
    shared_at: float = -inf  # when a caller last used it after another one
    shared: bool = False  # that was lately
    # once started
    ready_at: float = 0.0
    last_used: float = 0.0
    last_progress: float = 0.0
    answered: bool = False  # this generation has given a whole answer
    probing: bool = False
    drain_deadline: float | None = None  # set in a shutdown only
    stuck: bool = False  # survived SIGKILL
    # failures in a row
    failures: int = 0
    retry_at: float = 0.0
    told: str = ""  # why the last start failed, for callers
    unsupported: bool = False  # as SGLang said at the last start: no other would help
    cools_for: str | None = None  # the only caller that crashed it; None: nobody, or any
    suspicion: Suspicion = field(default_factory=Suspicion)
    trials: Trials = field(default_factory=Trials)  # of this generation
    trial_ends_at: float = inf  # when time alone ends the trial that requests wait for
    smaller: bool = False  # ran out of memory once; starts with less since
    verify_files: bool = False  # the last start failed: files may be missing or damaged
    # the last events and moves, each with its time
    story: deque[tuple[float, Event | Cause]] = field(
        default_factory=lambda: deque(maxlen=STORY_LENGTH)
    )

    def __post_init__(self) -> None:
        self.key = self.spec.key

    @property
    def held(self) -> int:
        """Bytes that count against the budget now."""
        return self.claim if self.state.claims else 0

    @property
    def running(self) -> bool:
        return self.state is State.READY or self.state is State.DRAINING

    @property
    def idle(self) -> bool:
        """No request is in flight."""
        return not self.leases

    @property
    def unused(self) -> bool:
        """The engine is up, and no request holds it or waits for it."""
        return self.state is State.READY and not self.leases and not self.queue

    @property
    def oldest(self) -> Wanted:
        """The request that has waited longest. Only where one waits."""
        return next(iter(self.queue.values()))

    def accepts(self, caller: Caller, limits: Limits) -> bool:
        """Whether a request of this caller would be in flight at once."""
        taken = len(self.leases)
        if self.state is not State.READY or taken >= limits.max_concurrency:
            return False
        most = self.most_of_one(limits)
        if taken < most:
            return True  # nobody can have more than that
        return sum(lease.caller == caller for lease in self.leases.values()) < most

    def most_of_one(self, limits: Limits) -> int:
        """How many requests one caller may have in flight here. Where several callers use an
        engine, each leaves some places free: a long answer gives none back for minutes."""
        most = limits.max_concurrency
        if self.shared:
            most -= left_free(most)
        own = limits.max_concurrency_per_caller
        return most if own is None else min(most, own)

    def evictable_at(self, min_residency: float) -> float:
        """When this engine may be evicted. One that became ready and served no request,
        because all callers had left, may be evicted at once."""
        return self.ready_at + (min_residency if self.answered or self.leases else 0.0)

    def stalls_at(self, stall_timeout: float) -> float:
        """When an engine with requests in flight has been silent for too long; `inf`: never."""
        return self.last_progress + stall_timeout if self.leases and not self.probing else inf

    @property
    def expires_at(self) -> float:
        """When an idle engine has been idle for too long; `inf`: never."""
        if self.state is not State.READY or self.leases or self.queue or self.spec.pinned:
            return inf
        if self.yielded_by_quota:
            return self.last_used
        return inf if self.spec.idle_ttl is None else self.last_used + self.spec.idle_ttl

    def due_at(self, limits: Limits, now: float) -> float:
        """When time alone changes what is to be done here; `inf`: only an event does."""
        due = min(self.stalls_at(limits.stall_timeout), self.trial_ends_at)
        if self.queue:
            due = min(due, self.queue.next_deadline)
            if self.state is State.FETCHED and self.retry_at > now:
                due = min(due, self.retry_at)
        for at in (self.linger_until, self.drain_deadline):
            if at is not None and at < due:
                due = at
        # An engine that has expired already waits for others to settle, which is an event.
        return expires if now < (expires := self.expires_at) < due else due

    def tell_story(self) -> Iterator[str]:
        """The last events and moves as lines, with no more of a digest than a trace shows."""
        for at, what in self.story:
            yield f"{at:.3f} {f'-> {what}' if isinstance(what, Cause) else abridged(what)}"
