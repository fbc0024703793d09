"""The life of one engine: what happens to it, and what to do because of that.

`EngineLife` is the only class that writes to slots, and `Scheduler` the only one that calls
its methods. Each method leaves the slot consistent and returns actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from router.errors import RouterError
from router.models import EngineSpec
from router.scheduler import actions, events, rejections
from router.scheduler.actions import Action
from router.scheduler.fairness import RECENT, StartSeconds, turns
from router.scheduler.lifecycle import CUTS_OFF, Cause, IllegalTransition, State, after
from router.scheduler.shared_slot import SharedSlot
from router.scheduler.state import Limits
from router.scheduler.trials import Trials
from router.scheduler.waiting import Line, QueuePlaces

FIRST_BACKOFF = 1.0  # seconds after the first failure in a row; doubles with each failure ...
LONGEST_BACKOFF = 300.0  # ... up to this
SHORT_COOL_DOWN = 1.0  # seconds: requests wait for this long, and are refused if it is longer


class EngineLife(SharedSlot):
    """The slot of one engine, with the methods that change it.

    `numbers` gives each start and each download a number of its own. `places` in the queue and
    `starts` are counted for all engines together.
    """

    __slots__ = ("_limits", "_numbers", "_starts")

    def __init__(
        self,
        spec: EngineSpec,
        limits: Limits,
        numbers: Iterator[int],
        places: QueuePlaces,
        starts: StartSeconds,
    ) -> None:
        super().__init__(spec, claim=0, queue=Line(places))
        self._limits, self._numbers, self._starts = limits, numbers, starts

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
        self.state, self.trial_ends_at = following, inf
        self.story.append((now, cause))

    def _illegal(self, cause: Cause) -> IllegalTransition:
        in_flight = f" with {len(self.leases)} requests in flight" if self.leases else ""
        return IllegalTransition(self.state, cause, f"{self.key}{in_flight}", self.tell_story())

    # --- settings --------------------------------------------------------------------

    def configure(self, spec: EngineSpec, written_off: int) -> None:
        """Take on the latest settings and size, unless an engine runs on others."""
        if not self.state.claims:
            self.spec = spec
            self.claim = self._limits.claim(spec, written_off)

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
        if not self.queue and not suspicious and self.accepts(request.caller, self._limits):
            return [self._lease(request, now)]
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
        self.shared = now - self.shared_at < RECENT
        if answered is not None:
            self.suspicion.end(request.caller, now, answered=answered)
        self.trials.end(waiter)
        self.last_used = now
        if answered:  # the engine works
            self.answered, self.last_progress = True, now
            self.failures, self.retry_at = 0, 0.0
        if self.idle and self.drain_deadline is not None:
            return [self._stop(Cause.DRAINED, now)]
        return self._grant(now)

    def _fewer_wait(self, now: float) -> list[Action]:
        if not self.queue:
            self._linger(now)
        return self._grant(now) if self.trial_ends_at < inf else []

    def _linger(self, now: float) -> None:
        """Go on for a while with what no request waits for: its caller may come back."""
        wanted = self.spec.pinned and self.state is State.STARTING
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
        self.leases[request.waiter] = request
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
        self.attempt = next(self._numbers)
        self.credential_digest = request.credential_digest
        return actions.Fetch(self.spec, self.attempt, request.waiter, request.caller)

    def _fetched(self, event: events.Fetched, now: float) -> list[Action]:
        self._move(Cause.VERIFIED, now)
        self.snapshot, self.size, self.linger_until = event.snapshot, event.size, None
        return []

    def _fetch_failed(self, event: events.FetchFailed, now: float) -> list[Action]:
        failed: list[Action] = []
        if event.blames_credential:
            self.refused[self.credential_digest] = event.error
            failed = self.fail(event.error, digest=self.credential_digest)
            for request in self.queue.values():
                if request.credential_digest not in self.refused:
                    return [*failed, self._fetch(request)]
        self._move(Cause.FETCH_FAILED, now)
        self.linger_until = None
        return failed + self.fail(event.error)

    def _cancel_fetch(self, cause: Cause, now: float) -> Action:
        self._move(cause, now)
        self.linger_until = None
        return actions.CancelFetch(self.key, self.attempt)

    def abandon(self, now: float) -> Action:
        """End a download or a start that no request waits for."""
        if self.state is State.STARTING:
            return self._stop(Cause.ABANDONED, now)
        return self._cancel_fetch(Cause.ABANDONED, now)

    def forget_snapshot(self, now: float) -> None:
        """Forget that the model is on disk, unless a request waits for it."""
        if self.state is State.FETCHED and not self.queue:
            self._move(Cause.FORGOTTEN, now)

    # --- engines ---------------------------------------------------------------------

    def start(self, free: int, now: float, *, whole: bool) -> Action:
        """`free`: bytes measured just now. `whole`: no other engine can run beside it."""
        self._move(Cause.ADMITTED, now)
        self.generation = next(self._numbers)
        self.started_at, self.shared_at, self.shared = now, -inf, False
        self.started_for = self.user = self.oldest.caller
        allotment = actions.Allotment(self.claim, free, whole, self.smaller)
        return actions.Start(self.spec, self.generation, self.snapshot, allotment)

    def evict(self, now: float) -> Action:
        return self._stop(Cause.EVICTED, now)

    def expire(self, now: float) -> Action:
        return self._stop(Cause.EXPIRED, now)

    def drain(self, now: float) -> None:
        """Take no more requests, because the memory is needed."""
        if self.state is State.READY:
            self._move(Cause.DRAIN, now)

    def revive(self, now: float) -> list[Action]:
        """Take requests again, because the memory is no longer needed."""
        self._move(Cause.REVIVED, now)
        return self._grant(now)

    def _stop(self, cause: Cause, now: float, detail: str = "") -> Action:
        if self.leases and cause not in CUTS_OFF:
            raise self._illegal(cause)
        self._move(cause, now)
        self.drain_deadline = self.linger_until = None
        self.leases.clear()
        why = f"{cause}: {detail}" if detail else str(cause)
        return actions.Stop(self.key, self.generation, why, at_once=cause in CUTS_OFF)

    def report(self, event: events.Report, now: float) -> list[Action]:  # noqa: PLR0911  a flat dispatch
        """Take in what came of an action, unless a later action has overtaken it."""
        self.note(event, now)
        match self.state, event:
            case State.FETCHING, events.Fetched(attempt=self.attempt):
                return self._fetched(event, now)
            case State.FETCHING, events.FetchFailed(attempt=self.attempt):
                return self._fetch_failed(event, now)
            case State.STARTING, events.Healthy(generation=self.generation):
                return self._ready(now)
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
        return []

    def _ready(self, now: float) -> list[Action]:
        self._move(Cause.HEALTHY, now)
        self.linger_until = None
        self.ready_at = self.last_used = self.last_progress = now
        self.answered = self.probing = False
        self.trials = Trials()
        self.suspicion.started(now)
        return self._grant(now)

    def _start_failed(self, event: events.StartFailed, now: float) -> list[Action]:
        failed: list[Action] = []
        if event.out_of_memory and not self.smaller:
            self.smaller = True  # the same requests get another start
        else:
            self._cool_down(now, event)
            self.verify_files = True
            failed = self.fail(rejections.did_not_start(self))
        return [*failed, self._stop(Cause.START_FAILED, now, event.reason)]

    def overrun(self, now: float) -> list[Action]:
        """End a start that has taken longer than it may while another caller waits."""
        self._cool_down(now)
        failed = self.fail(rejections.start_too_long(self))
        return [
            *failed,
            self._stop(Cause.START_FAILED, now, "others wait, and it took too long"),
        ]

    def _crashed(self, event: events.Crashed, now: float) -> list[Action]:
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
        self._move(Cause.VERIFY_FILES if verify else Cause.GONE, now)
        return [self._begin_fetch(now)] if verify and self.queue else []

    # --- time ------------------------------------------------------------------------

    def tick(self, now: float) -> list[Action]:
        """Do what is due by now."""
        done = self._refuse_late(now)
        if self.linger_until is not None and now >= self.linger_until:
            done.append(self.abandon(now))
        elif self.drain_deadline is not None and now >= self.drain_deadline:
            done.append(self._stop(Cause.DRAIN_TIMEOUT, now))
        elif now >= self.trial_ends_at:
            done += self._grant(now)
        elif now >= self.stalls_at(self._limits.stall_timeout):
            done += self.probe()
        return done

    def _refuse_late(self, now: float) -> list[Action]:
        """Fail the requests whose deadline has come, all before others get their turn."""
        late = self.queue.overdue(now)
        for waiter in late:
            del self.queue[waiter]
        failed: list[Action] = [actions.Fail(one, rejections.too_late(self)) for one in late]
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
        failed = self.fail(rejections.shutting_down())
        if self.state is State.FETCHING:
            return [*failed, self._cancel_fetch(Cause.SHUT_DOWN, now)]
        if self.state is State.STARTING or (self.running and self.idle):
            return [*failed, self._stop(Cause.SHUT_DOWN, now)]
        if self.running:
            self.drain(now)
            self.drain_deadline = min(deadline, self.drain_deadline or deadline)
        return failed
