"""The life of one engine: what happens to it, and what to do because of that.

`EngineLife` is the only class that writes to slots, and `Scheduler` the only one that calls
its methods. Each method leaves the slot consistent and returns actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf

from router.errors import RouterError
from router.models import EngineSpec
from router.scheduler import actions, events, memory, rejections
from router.scheduler.actions import Action
from router.scheduler.fairness import RECENT, StartSeconds, turns
from router.scheduler.forecast import Forecast
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import CUTS_OFF, Cause, IllegalTransition, State, after
from router.scheduler.memory import Shrink
from router.scheduler.shared_slot import SharedSlot
from router.scheduler.state import LONGEST_BACKOFF, SHRUNK_FOR, TURN_KEPT, Limits, Standby
from router.scheduler.track import FailureKind
from router.scheduler.trials import Trials
from router.scheduler.waiting import Line, QueuePlaces

FIRST_BACKOFF = 1.0  # seconds after the first failure in a row; doubles up to the longest
_LATEST = 0.2  # of the mean time of an answer, what the latest makes up
_ENDS_AT_ONCE = (State.STARTING, State.FALLING_ASLEEP, State.ASLEEP, State.WAKING)
SHORT_COOL_DOWN = 1.0  # seconds: requests wait for this long, and are refused if it is longer


@dataclass(frozen=True, slots=True)
class Shared:
    """What all engines count together."""

    limits: Limits
    numbers: Iterator[int]  # of starts and downloads: none is given twice
    places: QueuePlaces = field(default_factory=QueuePlaces)
    starts: StartSeconds = field(default_factory=StartSeconds)
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an engine starts."""

    devices: tuple[int, ...]
    budget: int  # bytes of each that engines may use


class EngineLife(SharedSlot):
    """The slot of one engine, with the methods that change it."""

    __slots__ = ("_history", "_limits", "_numbers", "_starts")

    def __init__(self, spec: EngineSpec, shared: Shared) -> None:
        super().__init__(spec, claim=0, queue=Line(shared.places))
        self._limits, self._numbers = shared.limits, shared.numbers
        self._starts, self._history = shared.starts, shared.history

    def note(self, event: events.Event, now: float) -> None:
        """Remember an event for the report of a defect."""
        self.story.append((now, event))

    def _move(self, cause: Cause, now: float) -> None:
        """Enter the next state. Raises `IllegalTransition`, and then changes nothing."""
        try:
            following = after(self.state, cause)
        except IllegalTransition:
            raise self._illegal(cause) from None
        if self.state is State.STARTING:  # however it ended
            self._starts.charge(self.started_for, now - self.started_at, now)
        self.state, self.moved_at, self.trial_ends_at = following, now, inf
        self.story.append((now, cause))

    def _illegal(self, cause: Cause) -> IllegalTransition:
        in_flight = f" with {len(self.leases)} requests in flight" if self.leases else ""
        return IllegalTransition(self.state, cause, f"{self.key}{in_flight}", self.tell_story())

    # --- settings --------------------------------------------------------------------

    def configure(self, spec: EngineSpec, device: int, now: float) -> None:
        """Take on the latest settings and size, unless an engine runs on others.

        `device`: bytes of one that engines may use.
        """
        if self.state.claims:
            return
        self.spec = spec
        if now - self.shrunk_at > SHRUNK_FOR:
            self.shrink = Shrink.NONE
        limits = self._limits
        made = memory.claim(
            spec,
            self.plan,
            self._history.memory(self.key),
            self.shrink,
            device=device,
            share=device // -(-(limits.max_loaded or 1) // limits.devices),
        )
        self.claim, self.tokens = made.memory, made.tokens

    def belong_to(self, caller: str | None) -> None:
        """Count as this caller's own model, until another caller uses it."""
        self.starter, self.yielded_by_quota = caller, False

    def yield_by_quota(self) -> None:
        self.yielded_by_quota = True

    # --- requests --------------------------------------------------------------------

    def enqueue(self, request: events.Wanted, now: float) -> list[Action]:
        """Take in a request: download its model, put it in flight, or let it wait."""
        suspicious = self.suspicion.active(now)
        self.shared = now - self.shared_at < RECENT
        forgotten = now - self.demand.last > TURN_KEPT
        if not request.retried:
            self.demand.arrive(now)
        if not self.queue and not suspicious and self.accepts(request.caller, self._limits):
            return [self._lease(request, now)]
        if self.turn is None or (forgotten and not self.queue):
            self._begin_turn(request.age, now)
        self.queue[request.waiter] = request
        self.linger_until = None
        # It may be the first request of another caller.
        refused = self._refuse_barred(now) if suspicious else []
        if self.state is State.COLD:
            return [*refused, self._begin_fetch(now)]
        return [*refused, *self._grant(now)]

    def release(self, waiter: int, now: float, *, answered: bool | None) -> list[Action]:
        """A request stops waiting, or ends its lease. A lease that was cut off is over.

        `answered`: with a whole answer from the engine; None: the engine never saw it.
        """
        if waiter in self.queue:
            del self.queue[waiter]
            return self._fewer_wait(now)
        request = self.leases.pop(waiter, None)
        if request is None:
            return []
        seconds = now - self.since.pop(waiter)
        self.shared = now - self.shared_at < RECENT
        if answered is not None:
            self.suspicion.end(request.caller, now, answered=answered)
        self.trials.end(waiter)
        self.last_used = now
        if answered:  # the engine works
            self.service += _LATEST * (seconds - self.service) if self.answered else seconds
            self.answered, self.last_progress = True, now
            self.failures, self.retry_at = 0, 0.0
        if self.idle and self.drain_deadline is not None:
            return [self._stop(Cause.DRAINED, now)]
        return self._grant(now)

    def _fewer_wait(self, now: float) -> list[Action]:
        if not self.queue:
            self._linger(now)
        return self._grant(now) if self.trial_ends_at < inf else []

    def _begin_turn(self, age: int, now: float) -> None:
        """From now on the model waits for room. Its turn outlives the request that began it."""
        if self.state is not State.READY:
            self.turn, self.turn_since = age, now

    def _end_turn(self) -> None:
        self.turn, self.turn_since = None, inf

    def _linger(self, now: float) -> None:
        """Go on for a while with what no request waits for: its caller may come back."""
        wanted = self.pinned and self.state is State.STARTING
        if self.state in (State.FETCHING, State.STARTING) and not wanted:
            self.linger_until = now + self._limits.fetch_linger

    def refuse(self, waiter: int, error: RouterError, now: float) -> list[Action]:
        """Fail one waiting request."""
        return [actions.Fail(waiter, error), *self.release(waiter, now, answered=None)]

    def fail(self, error: RouterError, *, digest: str | None = None) -> list[Action]:
        """Fail the waiting requests: all, or those with one credential."""
        failed = [
            waiter
            for waiter, request in self.queue.items()
            if digest is None or request.credential_digest == digest
        ]
        for waiter in failed:
            del self.queue[waiter]
        return [actions.Fail(waiter, error) for waiter in failed]

    def _grant(self, now: float) -> list[Action]:
        """Put waiting requests in flight, in turn, as far as the engine takes them."""
        limits = self._limits
        granted: list[Action] = []
        self.trial_ends_at = inf
        if not self.queue or self.state is not State.READY:
            return granted
        if self.suspicion.active(now):
            return self._try_callers(now)
        for request in turns(self.queue, self.leases.values(), self.most_of_one(limits)):
            if len(self.leases) >= limits.max_concurrency:
                break
            del self.queue[request.waiter]
            granted.append(self._lease(request, now))
        return granted

    def _try_callers(self, now: float) -> list[Action]:
        """The same for an engine under suspicion, which one caller uses at a time."""
        granted: list[Action] = []
        while len(self.leases) < self._limits.max_concurrency:
            waiting = self._oldest_of_each()
            if not waiting:
                break
            request = self.trials.next(waiting, self.suspicion.answers, now)
            if request is None:
                return granted + (self.probe() if self._ends_trial(waiting, now) else [])
            self.trials.grant(request, now)
            del self.queue[request.waiter]
            granted.append(self._lease(request, now))
        return granted

    def _oldest_of_each(self) -> dict[str | None, events.Wanted]:
        """By caller: the oldest waiting request, if its caller may have one more in flight."""
        oldest = {
            caller: self.queue.oldest_of(caller)
            for caller in self.queue.callers
            if self.accepts(caller, self._limits)
        }
        return {caller: request for caller, request in oldest.items() if request}

    def _lease(self, request: events.Wanted, now: float) -> Action:
        """Put a request in flight."""
        if not self.leases:
            self.last_progress = now
        self.leases[request.waiter], self.since[request.waiter] = request, now
        self.last_used = now
        self.yielded_by_quota = False
        if request.caller != self.starter:
            self.starter = None  # a model that several callers use belongs to none
        if request.caller != self.user:
            if self.user is not None:
                self.shared_at = now
            self.user = request.caller
        return actions.Grant(request.waiter, self.key, self.generation)

    # --- downloads -------------------------------------------------------------------

    def _begin_fetch(self, now: float) -> Action:
        self._move(Cause.WANTED, now)
        self.refused.clear()
        return self._fetch(self.oldest)

    def _fetch(self, request: events.Wanted) -> Action:
        """Download with the credential of `request`. Each credential is tried once."""
        self.attempt, self.described = next(self._numbers), False
        self.credential_digest = request.credential_digest
        return actions.Fetch(self.spec, self.attempt, request.waiter, request.caller)

    def _describe(self, event: events.Described) -> list[Action]:
        self.snapshot, self.plan, self.described = event.snapshot, event.plan, True
        return []

    def _fetched(self, event: events.Fetched, now: float) -> list[Action]:
        self._move(Cause.VERIFIED, now)
        moved = event.snapshot != self.snapshot
        dismissed = self.dismiss("its files are in another place", now) if moved else []
        self.snapshot, self.size, self.linger_until = event.snapshot, event.size, None
        self.plan = event.plan
        return dismissed

    def _fetch_failed(self, event: events.FetchFailed, now: float) -> list[Action]:
        self.track.failed(FailureKind.DOWNLOAD, str(event.error.message), now)
        failed = self.dismiss("its download failed", now)
        if event.blames_credential:
            self.refused[self.credential_digest] = event.error
            failed += self.fail(event.error, digest=self.credential_digest)
            for request in self.queue.values():
                if request.credential_digest not in self.refused:
                    return [*failed, self._fetch(request)]
        self._move(Cause.FETCH_FAILED, now)
        self.linger_until = None
        return failed + self.fail(event.error)

    def _cancel_fetch(self, cause: Cause, now: float) -> list[Action]:
        self._move(cause, now)
        self.linger_until = None
        dismissed = self.dismiss("its download was ended", now)
        return [*dismissed, actions.CancelFetch(self.key, self.attempt)]

    def abandon(self, now: float) -> list[Action]:
        """End a download or a start that no request waits for."""
        if self.state is State.STARTING:
            return [self._stop(Cause.ABANDONED, now)]
        return self._cancel_fetch(Cause.ABANDONED, now)

    def give_up_fetch(self, error: RouterError, now: float) -> list[Action]:
        """Do not download what can't be served."""
        return [*self.fail(error), *self._cancel_fetch(Cause.ABANDONED, now)]

    def forget_snapshot(self, now: float) -> list[Action]:
        """Forget that the model is on disk, unless a request waits for it. A spare process is
        no reason to keep files that others need the room of, or that nobody may use."""
        if self.state is not State.FETCHED or self.queue:
            return []
        done = self.dismiss("its files are removed", now)
        self._move(Cause.FORGOTTEN, now)
        return done

    # --- engines ---------------------------------------------------------------------

    def prestart(self, now: float, *, place: Placement, whole: bool) -> Action:
        """Start the process, up to where it needs memory, with what `start` would give it."""
        if whole and self._may_have_all:
            allotment = self._allotment(place.budget, place, whole=True, alone=True)
            allotment = replace(allotment, claim=place.budget)
        else:
            allotment = self._allotment(self.claim, place, whole=self.claim >= place.budget)
        caller = self.oldest.caller if self.queue else None
        self.standby = Standby(next(self._numbers), allotment, now, caller)
        return actions.Prestart(self.spec, self.standby.generation, self.snapshot, allotment)

    def dismiss(self, why: str, now: float) -> list[Action]:
        """End the process that was prestarted, if there is one. If its caller has left, its
        time counts as that of a start: a caller must not have processes started for nothing."""
        standby, self.standby = self.standby, None
        if standby is None:
            return []
        if not self.queue:
            worked_until = now if standby.stood_at is None else standby.stood_at
            self._starts.charge(standby.caller, worked_until - standby.since, now)
        return [actions.Stop(self.key, standby.generation, why, at_once=True)]

    def start(self, free: int, now: float, *, place: Placement, whole: bool) -> list[Action]:
        """Start the engine, or wake it, which it does where it sleeps.

        `free`: bytes measured just now, on the fullest of its devices. `whole`: no other model
        is wanted, so it may have all of them.
        """
        if self.state is State.ASLEEP:
            return [self._wake(now)]
        alone = whole and self._may_have_all
        if alone:
            self.claim, self.tokens = place.budget, None
        whole = self.claim >= place.budget
        allotment = self._allotment(free, place, whole=whole, alone=alone)
        done, standby = [], self.standby
        if standby is not None and not standby.allotment.suits(allotment):
            done, standby = self.dismiss("started with other memory", now), None
        if standby is not None:
            allotment = replace(allotment, tokens=standby.allotment.tokens)
        self._move(Cause.ADMITTED, now)
        self.from_gate = standby is not None and standby.standing
        self.process_since = standby.since if standby and not standby.standing else now
        self.generation = standby.generation if standby else next(self._numbers)
        self.unloads = False
        self.standby, self.loaded, self.held, self.excess = None, True, self.claim, 0
        self.devices = place.devices
        self.sleeps, self.alone = allotment.sleeps, allotment.whole
        self.track.begin(standby.took if standby else None)
        self.started_at, self.shared_at, self.shared = now, -inf, False
        self.started_for = self.user = self.oldest.caller
        return [*done, actions.Start(self.spec, self.generation, self.snapshot, allotment)]

    @property
    def _may_have_all(self) -> bool:
        return self.spec.memory is None and not self.shrink

    def _allotment(
        self, free: int, place: Placement, *, whole: bool, alone: bool = False
    ) -> actions.Allotment:
        """`alone`: no other model is wanted, so nobody gains if this one can sleep."""
        sleeps = self._limits.sleep_memory > 0 and self.spec.may_sleep
        sleeps = sleeps and not (alone or self.no_sleep or self.pinned)
        smaller = self.shrink is not Shrink.NONE
        tokens = None if whole else self.tokens
        tensor = self.plan.tensor if self.plan else None
        return actions.Allotment(
            self.claim, free, whole, smaller, tokens, sleeps, place.devices, tensor
        )

    def _wake(self, now: float) -> Action:
        self._move(Cause.WAKE, now)
        self.loaded, self.held, self.unloads = True, self.claim, False
        self.user = self.oldest.caller
        return actions.Wake(self.key, self.generation)

    def evict(self, now: float, *, sleep: bool = False) -> actions.Stop | actions.Sleep:
        """Make room. `sleep`: by giving the memory back, with the weights kept elsewhere."""
        if self.state is State.DRAINING:
            took = now - self.moved_at
            self.drains_in += 0.5 * (took - self.drains_in) if self.drains_in else took
        if not sleep:
            return self._stop(Cause.EVICTED, now)
        if self.leases:
            raise self._illegal(Cause.SLEEP)
        self._keep_turn(now)
        self._move(Cause.SLEEP, now)
        return actions.Sleep(self.key, self.generation)

    def expire(self, now: float) -> Action:
        return self._stop(Cause.UNLOADED if self.unloads else Cause.EXPIRED, now)

    def unload(self, now: float) -> list[Action]:
        """Stop because the operator says so: what starts, at once; what is up, once it is idle
        and memory may change hands. Requests that wait are served by the next start."""
        self.pin = False
        if self.state in (State.STARTING, State.FALLING_ASLEEP, State.WAKING):
            return [self._stop(Cause.UNLOADED, now)]
        self.unloads = self.state is not State.FETCHING
        self.drain(now)
        if self.state is State.FETCHING and not self.queue:
            return self._cancel_fetch(Cause.ABANDONED, now)
        return [] if self.queue else self.dismiss("the operator has unloaded its model", now)

    def pin_down(self, now: float) -> list[Action]:
        """Never make room nor expire, because the operator says so."""
        self.pin, self.unloads = True, False
        if self.state is State.STARTING:
            self.linger_until = None
        return self.revive(now) if self.state is State.DRAINING else []

    def unpin(self, now: float) -> None:
        self.pin = False
        if not self.queue:
            self._linger(now)

    def drain(self, now: float) -> None:
        """Take no more requests, because the memory is needed."""
        if self.state is State.READY:
            self._move(Cause.DRAIN, now)
            self._keep_turn(now)

    def revive(self, now: float) -> list[Action]:
        """Take requests again, because the memory is no longer needed."""
        self._move(Cause.REVIVED, now)
        self._end_turn()
        return self._grant(now)

    def _stop(self, cause: Cause, now: float, detail: str = "") -> actions.Stop:
        if self.leases and cause not in CUTS_OFF:
            raise self._illegal(cause)
        self._move(cause, now)
        self._keep_turn(now)
        self.drain_deadline = self.linger_until = None
        self.leases.clear()
        self.since.clear()
        why = f"{cause}: {detail}" if detail else str(cause)
        return actions.Stop(self.key, self.generation, why, at_once=cause in CUTS_OFF)

    def _keep_turn(self, now: float) -> None:
        """Requests that wait for an engine that leaves wait for room from now on."""
        if self.queue and self.turn is None:
            self._begin_turn(self.oldest.age, now)

    def report(self, event: events.Report, now: float) -> list[Action]:  # noqa: C901, PLR0911, PLR0912  a flat dispatch
        """Take in what came of an action, unless a later action has overtaken it."""
        self.note(event, now)
        match self.state, event:
            case State.FETCHING, events.Described(attempt=self.attempt):
                return self._describe(event)
            case State.FETCHING, events.Fetched(attempt=self.attempt):
                return self._fetched(event, now)
            case State.FETCHING, events.FetchFailed(attempt=self.attempt):
                return self._fetch_failed(event, now)
            case State.STARTING, events.Healthy(generation=self.generation):
                return self._ready(event, now)
            case State.FALLING_ASLEEP, events.Asleep(generation=self.generation):
                return self._asleep(event, now)
            case State.WAKING, events.Awake(generation=self.generation):
                return self._awake(now)
            case (
                State.FALLING_ASLEEP | State.ASLEEP | State.WAKING,
                events.Crashed(generation=self.generation),
            ):
                return self._crashed_asleep(event, now)
            case State.STARTING, events.StartFailed(generation=self.generation):
                return self._start_failed(event, now)
            case State.READY | State.DRAINING, events.Responded(generation=self.generation):
                self.last_progress = now
                if self.trials.respond():
                    self.suspicion.trial_ended(now)
                self.probing = self.trials.unanswered > 0
                return self._grant(now)
            case State.READY | State.DRAINING, events.Crashed(generation=self.generation):
                return self._crashed(event, now)
            case State.STOPPING, events.Gone(generation=self.generation):
                return self._gone(now)
            case State.STOPPING, events.Stuck(generation=self.generation):
                self.stuck = True
                return [
                    actions.Alarm(f"The engine for {self.key} can't be killed.", leave=True)
                ]
        return self._report_standby(event, now) if self.standby else []

    def _report_standby(self, event: events.Report, now: float) -> list[Action]:
        standby = self.standby
        if standby is None or getattr(event, "generation", None) != standby.generation:
            return []
        if isinstance(event, events.Standing):
            self._took(Stage.PRESTART, now - standby.since)
            self.standby = replace(standby, stood_at=now)
            return []
        self.no_prestart = True  # an ordinary start will tell why
        return self.dismiss("it ended before it was needed", now)

    def _took(self, stage: Stage, seconds: float) -> None:
        self._history.took(stage, self.key, self.size, seconds)

    def _ready(self, event: events.Healthy, now: float) -> list[Action]:
        stage = Stage.FROM_GATE if self.from_gate else Stage.START
        self._took(stage, now - self.process_since)
        self.track.up(stage, now - self.process_since, now - self.started_at, now)
        self._move(Cause.HEALTHY, now)
        self.no_prestart = False
        if event.taken is not None:
            self._correct_claim(event.taken)
        self.suspicion.started(now)
        return self._up(now)

    def _up(self, now: float) -> list[Action]:
        """The engine takes requests from now on: first those that waited for it."""
        self._end_turn()
        self.linger_until = None
        self.batch = next(reversed(self.queue.values())).age if self.queue else 0
        self.ready_at = self.last_used = self.last_progress = now
        self.answered = self.probing = False
        self.trials = Trials()
        return self._grant(now)

    def _correct_claim(self, taken: int) -> None:
        """Hold what the engine has taken, as measured, where it was an estimate."""
        if self.spec.memory is not None or self.plan is None or self.tokens is None:
            return
        self.excess = max(0, taken - self.claim)
        self.held = self.claim = max(taken, min(taken + memory.slack(self.plan), self.claim))
        if self.shrink is Shrink.NONE:
            self._history.measured(self.key, taken)

    def _asleep(self, event: events.Asleep, now: float) -> list[Action]:
        self._took(Stage.SLEEP, now - self.moved_at)
        self._move(Cause.SLEPT, now)
        self.loaded, self.held = False, min(event.left, self.claim)
        return []

    def _awake(self, now: float) -> list[Action]:
        took = now - self.moved_at
        self._took(Stage.WAKE, took)
        self.track.up(Stage.WAKE, took, took, now)
        self._move(Cause.AWAKE, now)
        return self._up(now)

    def _crashed_asleep(self, event: events.Crashed, now: float) -> list[Action]:
        """It failed to sleep or to wake, which is no caller's doing."""
        self.track.failed(FailureKind.CRASH, event.reason, now)
        self.no_sleep = True
        self._cool_down(now)
        return [self._stop(Cause.CRASHED, now, event.reason)]

    def _start_failed(self, event: events.StartFailed, now: float) -> list[Action]:
        self.track.failed(FailureKind.START, event.reason, now)
        failed: list[Action] = []
        last = Shrink.HALF_THE_CACHE if self.alone else Shrink.WHOLE_DEVICE
        if event.out_of_memory and self.shrink < last:
            # The same requests get another start, with less cache or with more room.
            self.shrink, self.shrunk_at = Shrink(self.shrink + 1), now
        else:
            self._cool_down(now, event)
            self.verify_files, self.shrink = True, Shrink.NONE
            failed = self.fail(rejections.did_not_start(self))
        return [*failed, self._stop(Cause.START_FAILED, now, event.reason)]

    def overrun(self, now: float) -> list[Action]:
        """End a start that has taken longer than it may while another caller waits."""
        why = "others wait, and it took too long"
        self.track.failed(FailureKind.START, why, now)
        self._cool_down(now)
        failed = self.fail(rejections.start_too_long(self))
        return [*failed, self._stop(Cause.START_FAILED, now, why)]

    def _crashed(self, event: events.Crashed, now: float) -> list[Action]:
        self.track.failed(FailureKind.CRASH, event.reason, now)
        verdict, told = self._judge_crash(now)
        if verdict.alone or not verdict.suspects:  # a cool-down harms no innocent caller
            self._cool_down(now)
            self.cools_for = verdict.author
        done = [*told, self._stop(Cause.CRASHED, now, event.reason), *self._refuse_barred(now)]
        if self.retry_at - now > SHORT_COOL_DOWN:
            done += self.fail(rejections.cooling_down(self, now))
        return done

    def _cool_down(self, now: float, start: events.StartFailed | None = None) -> None:
        """Count a failed start or a crash, and set when the engine may start again.

        `start`: what is known of the start that failed by itself.
        """
        self.told = start.told if start else ""
        self.unsupported = start is not None and start.unsupported
        backoff = min(FIRST_BACKOFF * 2**self.failures, LONGEST_BACKOFF)
        self.retry_at = now + (LONGEST_BACKOFF if self.unsupported else backoff)
        self.failures, self.cools_for = min(self.failures + 1, 32), None

    def _gone(self, now: float) -> list[Action]:
        verify, self.verify_files = self.verify_files, False
        self._took(Stage.STOP, now - self.moved_at)
        self.loaded, self.held, self.excess = False, 0, 0
        self._move(Cause.VERIFY_FILES if verify else Cause.GONE, now)
        return [self._begin_fetch(now)] if verify and self.queue else []

    # --- time ------------------------------------------------------------------------

    def tick(self, now: float, forecast: Forecast | None) -> list[Action]:
        """Do what is due by now. `forecast`: for the requests that give up; None: none does."""
        done = self._refuse_late(forecast, now) if forecast else []
        if self.linger_until is not None and now >= self.linger_until:
            done += self.abandon(now)
        elif self.drain_deadline is not None and now >= self.drain_deadline:
            done.append(self._stop(Cause.DRAIN_TIMEOUT, now))
        elif now >= self.trial_ends_at:
            done += self._grant(now)
        elif now >= self.stalls_at(self._limits.stall_timeout):
            done += self.probe()
        return done

    def _refuse_late(self, forecast: Forecast, now: float) -> list[Action]:
        """Fail the requests whose deadline has come, all before others get their turn."""
        late = self.queue.overdue(now)
        for waiter in late:
            del self.queue[waiter]
        error = rejections.too_late(forecast, self._limits.fetch_linger)
        failed: list[Action] = [actions.Fail(one, error) for one in late]
        return failed + self._fewer_wait(now) if late else failed

    def probe(self) -> list[Action]:
        """Find out whether a running engine still generates."""
        if not self.running:
            return []
        self.probing = True
        self.trials.ask()
        return [actions.Probe(self.key, self.generation)]

    def shut_down(self, deadline: float, now: float) -> list[Action]:
        """Fail waiting requests, and end the engine: now if it is idle, else by `deadline`."""
        failed = [*self.fail(rejections.shutting_down()), *self.dismiss("shutdown", now)]
        if self.state is State.FETCHING:
            return [*failed, *self._cancel_fetch(Cause.SHUT_DOWN, now)]
        if self.state in _ENDS_AT_ONCE or (self.running and self.idle):
            return [*failed, self._stop(Cause.SHUT_DOWN, now)]
        if self.running:
            self.drain(now)
            self.drain_deadline = min(deadline, self.drain_deadline or deadline)
        return failed
