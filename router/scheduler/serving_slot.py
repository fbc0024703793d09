"""The requests of one model: waiting, in flight, and ended."""

from __future__ import annotations

from math import inf

from router.errors import RouterError
from router.scheduler import actions, events
from router.scheduler.actions import Action
from router.scheduler.fairness import RECENT
from router.scheduler.fetching_slot import FetchingSlot
from router.scheduler.lifecycle import Cause, State
from router.scheduler.state import TURN_KEPT

_LATEST = 0.2  # weight of the latest answer in the mean time of an answer


class ServingSlot(FetchingSlot):
    """The part of `EngineLife` that queues requests and holds leases."""

    __slots__ = ()

    def serve(self, request: events.Wanted, now: float) -> Action | None:
        """Grant a request at once in the simple case, which is the most common. None:
        `Dispatch` must look closer."""
        if self.queue or self.yielded_by_quota or self.cools_for is not None:
            return None
        if request.retried or self.suspicion.active(now):
            return None
        self.shared = now - self.shared_at < RECENT
        if not self.accepts(request.caller, self._limits):
            return None
        self.demand.arrive(now)
        return self._lease(request, now)

    def enqueue(self, request: events.Wanted, now: float) -> list[Action]:
        """Accept a request: download its model, put it in flight, or let it wait."""
        suspicious = self.suspicion.active(now)
        self.shared = now - self.shared_at < RECENT
        forgotten = now - self.demand.last > TURN_KEPT
        if not request.retried:
            self.demand.arrive(now)
        if not self.queue and not suspicious and self.accepts(request.caller, self._limits):
            return [self._lease(request, now)]
        if self.turn is None or (forgotten and not self.queue):
            self._begin_turn(request.age, now)
        if not self.queue:
            self.turns.begin(self.user)
        self.queue[request.waiter] = request
        self.turns.comes(request)
        self.linger_until = None
        # It may be the first request of another caller.
        refused = self._refuse_barred(now) if suspicious else []
        if self.state is State.COLD:
            return [*refused, self._begin_fetch(now)]
        return [*refused, *self._grant(now)]

    def release(self, waiter: int, now: float, *, answered: bool | None) -> list[Action]:
        """End the wait or the lease of a request. Does nothing if the lease was already cut
        off.

        `answered`: whether the engine gave a complete answer; None: the engine never saw it.
        """
        if waiter in self.queue:
            del self.queue[waiter]
            return self._fewer_wait(now)
        request = self.leases.pop(waiter, None)
        if request is None:
            return []
        if self.queue:
            self.turns.ended(request.caller)
        seconds = now - self.since.pop(waiter)
        self.shared = now - self.shared_at < RECENT
        if answered is not None:
            self.suspicion.end(request.caller, now, answered=answered)
        self.trials.end(waiter)
        self.last_used = self.used_at = now
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

    def _linger(self, now: float) -> None:
        """Continue a download or start that no request waits for: its caller may come back."""
        wanted = self.pinned and self.state is State.STARTING
        if self.state in (State.FETCHING, State.STARTING) and not wanted:
            self.linger_until = now + self._limits.fetch_linger

    def refuse(self, waiter: int, error: RouterError, now: float) -> list[Action]:
        """Fail one waiting request."""
        return [actions.Fail(waiter, error), *self.release(waiter, now, answered=None)]

    def _grant(self, now: float) -> list[Action]:
        """Put waiting requests in flight, in turn, as far as the engine takes them."""
        limits = self._limits
        granted: list[Action] = []
        self.trial_ends_at = inf
        if not self.queue or self.state is not State.READY:
            return granted
        if self.suspicion.active(now):
            return self._try_callers(now)
        most, most_of_one = self.most(limits), self.most_of_one(limits)
        while len(self.leases) < most and (request := self.turns.next(most_of_one)):
            del self.queue[request.waiter]
            self.turns.took(request.caller)
            granted.append(self._lease(request, now))
        return granted

    def _try_callers(self, now: float) -> list[Action]:
        """The same for an engine under suspicion, which only one caller at a time may use."""
        granted: list[Action] = []
        self.turns.forget()
        while len(self.leases) < self.most(self._limits):
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
        """The oldest waiting request of each caller that may have one more in flight."""
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
        self.last_used = self.used_at = now
        self.yielded_by_quota = False
        if request.caller != self.starter:
            self.starter = None  # a model that several callers use belongs to none of them
        if request.caller != self.user:
            if self.user is not None:
                self.shared_at = now
            self.user = request.caller
        return actions.Grant(request.waiter, self.key, self.generation)
