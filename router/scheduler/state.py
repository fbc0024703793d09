"""What the scheduler knows of a model and its engine: its slot."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey, EngineSpec, MemoryPlan
from router.scheduler.demand import Demand
from router.scheduler.events import Event, Wanted, abridged
from router.scheduler.lifecycle import Cause, State
from router.scheduler.limits import Limits, left_free
from router.scheduler.memory import Shrink
from router.scheduler.standby import Standby
from router.scheduler.suspicion import Suspicion
from router.scheduler.track import Track
from router.scheduler.trials import Trials
from router.scheduler.turns import TurnOrder
from router.scheduler.waiting import Caller, Line

LONGEST_BACKOFF = 300.0  # seconds
SHRUNK_FOR = 600.0  # seconds until an engine that ran out of memory gets as much as before
STORY_LENGTH = 20  # each event moves an engine once or not at all: ten events or more
TURN_KEPT = 600.0  # seconds for which a model keeps its turn after its last waiter has left


@dataclass(slots=True, eq=False)
class Slot:
    """One (repo, commit, flags), whatever state its engine is in.

    This is what the planner and the quotas read. Only its subclass `EngineLife`
    writes. Times are in seconds, by the pool's clock.
    """

    spec: EngineSpec  # of its engine, else the latest
    claim: int  # bytes of each of its devices that its engine needs
    key: EngineKey = field(init=False)
    latest: EngineSpec = field(init=False)  # for its next engine
    state: State = State.COLD
    moved_at: float = 0.0  # when it entered this state
    generation: int = 0
    queue: Line = field(default_factory=Line)
    leases: dict[int, Wanted] = field(default_factory=dict)  # by waiter
    turns: TurnOrder = field(init=False)  # of the callers that wait
    snapshot: Path = Path()  # from FETCHED on
    size: int = 0  # bytes of the snapshot
    plan: MemoryPlan | None = None
    tokens: int | None = None  # of the cache, as planned
    held: int = 0  # bytes of each of its devices that count against the budget now
    devices: tuple[int, ...] = (0,)  # of its engine; of the last one, where there is none
    loaded: bool = False  # an engine takes or has all of its memory; not one that slept
    demand: Demand = field(default_factory=Demand)
    # The turn of a model that waits, which outlives its waiters
    turn: int | None = None  # the age of the request that began it
    turn_since: float = inf
    standby: Standby | None = None
    no_prestart: bool = False  # the last one failed: a start will tell why
    # while fetching
    attempt: int = 0
    described: bool = False  # the small files of this attempt are on disk, and tell its plan
    credential_digest: str = ""  # of the credential that this attempt downloads with
    refused: dict[str, RouterError] = field(default_factory=dict)  # by credential digest
    # while fetching or starting
    linger_until: float | None = None  # set where no request waits
    # the caller that this model belongs to
    starter: str | None = None  # it caused the start; None: the operator, or several callers
    yielded_by_quota: bool = False  # its starter's limit made it yield to another model
    # from STARTING on
    started_at: float = 0.0
    from_gate: bool = False  # this start went on from a process that waited at its gate
    process_since: float = 0.0  # since when it goes on: from there, or from its beginning
    started_for: Caller = None  # the caller of the oldest request that waited then
    user: Caller = None  # the caller of its latest request, or for which it starts
    shared_at: float = -inf  # when a caller last used it after another one
    shared: bool = False  # that was lately
    # once started
    sleeps: bool = False  # this engine can give its memory back and go on
    no_sleep: bool = False  # one failed to sleep or to wake
    alone: bool = False  # it has the device to itself
    excess: int = 0  # bytes of each device that it took beyond its claim
    batch: int = 0  # the youngest request that waited when it became ready
    service: float = 0.0  # seconds that an answer takes
    drains_in: float = 0.0  # seconds that its latest drains took; 0: none yet
    since: dict[int, float] = field(default_factory=dict)  # of each lease
    overbooked: int = 0  # requests that were in flight when the operator last set limits
    ready_at: float = 0.0
    last_used: float = 0.0  # or made ready: from then on it idles
    used_at: float | None = None  # when a request last began or ended; None: never
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
    shrink: Shrink = Shrink.NONE  # of its cache, after it ran out of memory
    shrunk_at: float = -inf
    verify_files: bool = False  # the last start failed: files may be missing or damaged
    # what the operator said while the worker ran
    pin: bool = False
    unloads: bool = False  # it takes no more requests and stops; none is started ahead
    parted_by: str | None = None  # the group that says so, where it was not the operator
    track: Track = field(default_factory=Track)  # for the operator
    # the last events and moves, each with its time
    story: deque[tuple[float, Event | Cause]] = field(
        default_factory=lambda: deque(maxlen=STORY_LENGTH)
    )

    def __post_init__(self) -> None:
        self.key, self.latest = self.spec.key, self.spec
        self.turns = TurnOrder(self.queue, self.leases)

    @property
    def pinned(self) -> bool:
        """It never makes room, and never expires: by its settings, or the operator said so."""
        return self.spec.pinned or self.pin

    @property
    def startable(self) -> bool:
        """Only room is missing for an engine."""
        return self.state is State.FETCHED or self.state is State.ASLEEP

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
        if self.state is not State.READY or taken >= self.most(limits):
            return False
        most = self.most_of_one(limits)
        if taken < most:
            return True  # nobody can have more than that
        return sum(lease.caller == caller for lease in self.leases.values()) < most

    def most(self, limits: Limits) -> int:
        """How many requests may be in flight here."""
        own = self.spec.max_concurrency
        return limits.max_concurrency if own is None else own

    @property
    def line_is_full(self) -> bool:
        """As many requests wait for this model as may."""
        most = self.spec.max_queue
        return most is not None and len(self.queue) >= most

    def most_of_one(self, limits: Limits) -> int:
        """How many requests one caller may have in flight here. Where several callers use an
        engine, each leaves some places free: a long answer gives none back for minutes."""
        most = self.most(limits)
        if self.shared:
            most -= left_free(most)
        own = limits.max_concurrency_per_caller
        return most if own is None else min(most, own)

    @property
    def span(self) -> int:
        """How many devices its engine needs."""
        return 1 if self.plan is None else self.plan.devices

    @property
    def place(self) -> tuple[int, int | None]:
        """How many devices, and the first of them where the operator has chosen it."""
        plan = self.plan
        return (1, None) if plan is None else (plan.devices, plan.base)

    @property
    def weights(self) -> int:
        """Bytes that the weights take, on all devices together."""
        return self.size if self.plan is None else self.plan.weights * self.plan.devices

    @property
    def tells_size(self) -> bool:
        """Whether its claim is more than a share of the budget."""
        return self.plan is not None or self.spec.memory is not None

    @property
    def unneeded(self) -> bool:
        """It became ready and served no request, because all callers had left."""
        return not (self.answered or self.leases or self.queue)

    @property
    def serves_batch(self) -> bool:
        """A request that waited while it started has no place in flight yet."""
        return bool(self.queue) and self.oldest.age <= self.batch

    @property
    def age(self) -> int:
        """What orders the queue. Only where a request waits."""
        oldest = self.oldest.age
        return oldest if self.turn is None else min(self.turn, oldest)

    def stalls_at(self, stall_timeout: float) -> float:
        """When an engine with requests in flight has been silent for too long; `inf`: never."""
        return self.last_progress + stall_timeout if self.leases and not self.probing else inf

    @property
    def expires_at(self) -> float:
        """When an idle engine has been idle for too long; `inf`: never."""
        up = self.state is State.READY or self.state is State.ASLEEP
        if not up or self.leases or self.queue or self.pinned:
            return inf
        if self.yielded_by_quota:
            return self.last_used
        return inf if self.spec.idle_ttl is None else self.last_used + self.spec.idle_ttl

    @property
    def forgettable_at(self) -> float:
        """When nothing is left to be known of a model that is neither wanted nor on disk."""
        cooled = self.retry_at + LONGEST_BACKOFF if self.failures else 0.0
        return max(cooled, self.suspicion.until)

    def forgettable(self, now: float) -> bool:
        """Whether nothing needs this slot: no request, no engine, no memory of failures."""
        idle = not (self.queue or self.standby or self.pin)
        if self.state is State.FETCHED:
            return idle and now >= max(self.retry_at, self.suspicion.until)
        return idle and self.state is State.COLD and now >= self.forgettable_at

    def due_at(self, limits: Limits, now: float) -> float:
        """When time alone changes what is to be done here; `inf`: only an event does."""
        due = min(self.stalls_at(limits.stall_timeout), self.trial_ends_at)
        if self.queue:
            due = min(due, self.queue.next_deadline)
            if self.startable and self.retry_at > now:
                due = min(due, self.retry_at)
        elif self.state is State.COLD and not self.pin:
            due = min(due, self.forgettable_at)
        for at in (self.linger_until, self.drain_deadline):
            if at is not None and at < due:
                due = at
        # An engine that has expired already waits for others to settle, which is an event.
        return expires if now < (expires := self.expires_at) < due else due

    def tell_story(self) -> Iterator[str]:
        """The last events and moves as lines, with no more of a digest than a trace shows."""
        for at, what in self.story:
            yield f"{at:.3f} {f'-> {what}' if isinstance(what, Cause) else abridged(what)}"
