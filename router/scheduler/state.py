"""A slot: what the scheduler knows about one model and its engine."""

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
SHRUNK_FOR = 600.0  # seconds until an engine that ran out of memory gets its normal share again
STORY_LENGTH = 20  # an event moves an engine at most once, so these are ten events or more
TURN_KEPT = 600.0  # seconds for which a model keeps its turn after its last request has left


@dataclass(slots=True, eq=False)
class Slot:
    """The state of one (repo, commit, flags), whether or not an engine runs.

    The planner and the quotas read slots. Only the subclass `EngineLife` changes them. Times
    are in seconds, by the pool's clock.
    """

    spec: EngineSpec  # of its engine; without an engine, the latest one
    claim: int  # bytes that its engine needs on each of its devices
    key: EngineKey = field(init=False)
    latest: EngineSpec = field(init=False)  # for its next engine
    state: State = State.COLD
    moved_at: float = 0.0  # when it entered this state
    generation: int = 0
    queue: Line = field(default_factory=Line)
    leases: dict[int, Wanted] = field(default_factory=dict)  # by waiter
    turns: TurnOrder = field(init=False)  # the order in which waiting callers get places
    snapshot: Path = Path()  # valid from FETCHED on
    size: int = 0  # bytes of the snapshot
    plan: MemoryPlan | None = None
    tokens: int | None = None  # of the planned cache
    held: int = 0  # bytes on each of its devices, counted against the budget now
    devices: tuple[int, ...] = (0,)  # of its engine, or of its last one
    loaded: bool = False  # its engine takes or has all of its memory; False while asleep
    demand: Demand = field(default_factory=Demand)
    # The turn of a waiting model. It outlives the requests.
    turn: int | None = None  # the age of the request that began it
    turn_since: float = inf
    standby: Standby | None = None
    no_prestart: bool = False  # the last one failed; an ordinary start will show the reason
    # While fetching:
    attempt: int = 0
    described: bool = False  # this attempt has the small files on disk, and `plan` is known
    credential_digest: str = ""  # of the credential that this attempt uses
    refused: dict[str, RouterError] = field(default_factory=dict)  # by credential digest
    # While fetching or starting:
    linger_until: float | None = None  # set while no request waits
    # The caller that this model belongs to:
    starter: str | None = None  # whose request caused it; None: the operator, or several
    yielded_by_quota: bool = False  # its starter's limit made it yield to another model
    # From STARTING on:
    started_at: float = 0.0
    from_gate: bool = False  # this start continued a process that waited at its gate
    process_since: float = 0.0  # when the process began, or left its gate
    started_for: Caller = None  # the caller of the oldest request that waited at that time
    user: Caller = None  # the caller of the latest request, or the one it starts for
    shared_at: float = -inf  # when the engine last changed from one caller to another
    shared: bool = False  # whether that was recent
    # Once started:
    sleeps: bool = False  # this engine can sleep
    no_sleep: bool = False  # an engine failed to sleep or to wake
    alone: bool = False  # no other engine is on its devices
    excess: int = 0  # bytes on each device that it took beyond its claim
    batch: int = 0  # age of the youngest request that waited when it became ready
    service: float = 0.0  # mean seconds per answer
    drains_in: float = 0.0  # mean seconds of its drains; 0: none yet
    since: dict[int, float] = field(default_factory=dict)  # when each lease began
    overbooked: int = 0  # requests in flight when the operator last changed the limits
    ready_at: float = 0.0
    last_used: float = 0.0  # or became ready; idle time counts from here
    used_at: float | None = None  # when a request last began or ended; None: never
    last_progress: float = 0.0
    answered: bool = False  # this generation has given a complete answer
    probing: bool = False
    drain_deadline: float | None = None  # only set in a shutdown
    stuck: bool = False  # it survived SIGKILL
    # Failures:
    failures: int = 0
    retry_at: float = 0.0
    told: str = ""  # the reason of the last failed start, for callers
    unsupported: bool = False  # SGLang said at the last start that it can't serve the model
    cools_for: str | None = None  # the only caller that crashed it; None: no one, or any
    suspicion: Suspicion = field(default_factory=Suspicion)
    trials: Trials = field(default_factory=Trials)  # of this generation
    trial_ends_at: float = inf  # when the trial ends that waiting requests are waiting for
    shrink: Shrink = Shrink.NONE  # of its cache, after it ran out of memory
    shrunk_at: float = -inf
    verify_files: bool = False  # the last start failed, so files may be missing or damaged
    # The operator's commands:
    pin: bool = False
    unloads: bool = False  # it takes no more requests and stops; it is not prestarted
    parted_by: str | None = None  # the group whose rule unloads it; None: the operator did
    track: Track = field(default_factory=Track)  # for the operator
    # The last events and state changes, with their times.
    story: deque[tuple[float, Event | Cause]] = field(
        default_factory=lambda: deque(maxlen=STORY_LENGTH)
    )

    def __post_init__(self) -> None:
        self.key, self.latest = self.spec.key, self.spec
        self.turns = TurnOrder(self.queue, self.leases)

    @property
    def pinned(self) -> bool:
        """Whether it never makes room and never expires, by settings or the operator's
        command."""
        return self.spec.pinned or self.pin

    @property
    def startable(self) -> bool:
        """Whether an engine could start or wake if there were room."""
        return self.state is State.FETCHED or self.state is State.ASLEEP

    @property
    def running(self) -> bool:
        return self.state is State.READY or self.state is State.DRAINING

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not self.leases

    @property
    def unused(self) -> bool:
        """Whether the engine is up, and no request holds it or waits for it."""
        return self.state is State.READY and not self.leases and not self.queue

    @property
    def oldest(self) -> Wanted:
        """The request that has waited longest. At least one must wait."""
        return next(iter(self.queue.values()))

    def accepts(self, caller: Caller, limits: Limits) -> bool:
        """Whether a request of this caller would be in flight at once."""
        taken = len(self.leases)
        if self.state is not State.READY or taken >= self.most(limits):
            return False
        most = self.most_of_one(limits)
        if taken < most:
            return True  # no caller can have more than `taken`
        return sum(lease.caller == caller for lease in self.leases.values()) < most

    def most(self, limits: Limits) -> int:
        """How many requests may be in flight here."""
        own = self.spec.max_concurrency
        return limits.max_concurrency if own is None else own

    @property
    def line_is_full(self) -> bool:
        """Whether as many requests wait for this model as the operator allows."""
        most = self.spec.max_queue
        return most is not None and len(self.queue) >= most

    def most_of_one(self, limits: Limits) -> int:
        """How many requests one caller may have in flight here.

        While several callers use an engine, each leaves some places free, because a long answer
        occupies its place for minutes.
        """
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
        """The number of devices, and the first one if the operator has chosen it."""
        plan = self.plan
        return (1, None) if plan is None else (plan.devices, plan.base)

    @property
    def weights(self) -> int:
        """Bytes of the weights, on all devices together."""
        return self.size if self.plan is None else self.plan.weights * self.plan.devices

    @property
    def tells_size(self) -> bool:
        """Whether its claim is known, and not just an equal share of the budget."""
        return self.plan is not None or self.spec.memory is not None

    @property
    def unneeded(self) -> bool:
        """Whether it became ready but served no request, because all callers had left."""
        return not (self.answered or self.leases or self.queue)

    @property
    def serves_batch(self) -> bool:
        """Whether a request that waited during the start is still waiting."""
        return bool(self.queue) and self.oldest.age <= self.batch

    @property
    def age(self) -> int:
        """Orders the queue. At least one request must wait."""
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
        """When all failures of a model that is neither wanted nor on disk may be forgotten."""
        cooled = self.retry_at + LONGEST_BACKOFF if self.failures else 0.0
        return max(cooled, self.suspicion.until)

    def forgettable(self, now: float) -> bool:
        """Whether nothing needs this slot: no request, engine, or failure to remember."""
        idle = not (self.queue or self.standby or self.pin)
        if self.state is State.FETCHED:
            return idle and now >= max(self.retry_at, self.suspicion.until)
        return idle and self.state is State.COLD and now >= self.forgettable_at

    def due_at(self, limits: Limits, now: float) -> float:
        """When something must be done here without any event; `inf`: never."""
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
        # An engine that has already expired waits until others settle, which is an event.
        return expires if now < (expires := self.expires_at) < due else due

    def tell_story(self) -> Iterator[str]:
        """The last events and state changes, one line each, with shortened digests."""
        for at, what in self.story:
            yield f"{at:.3f} {f'-> {what}' if isinstance(what, Cause) else abridged(what)}"
