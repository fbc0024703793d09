"""How a crash affects the callers that share an engine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from router.errors import RouterError
from router.scheduler import actions, events, rejections, reports
from router.scheduler.actions import Action
from router.scheduler.state import Slot
from router.scheduler.suspicion import Verdict


class SharedSlot(Slot):
    """The part of `EngineLife` that distinguishes callers."""

    __slots__ = ()

    def refusal(self, request: events.Wanted, now: float) -> RouterError | None:
        """Why this request gets no engine because of an earlier crash; None if it may have one.

        A cool-down after crashes that one caller caused ends as soon as another caller comes.
        """
        if self.cools_for is not None and request.caller != self.cools_for:
            self.cools_for, self.failures, self.retry_at = None, 0, 0.0
        if request.retried and self.suspicion.may_retry(request.age) is False:
            return rejections.not_tried_again(self)
        return self._bar(request, now) if self.suspicion.active(now) else None

    def _bar(self, request: events.Wanted, now: float) -> RouterError | None:
        """The error for a request of a quarantined caller; None for any other request."""
        present = chain(self.queue.values(), self.leases.values())
        seconds = self.suspicion.barred_for(request.caller, present, now)
        if not seconds or request.caller is None:
            return None
        return rejections.quarantined(self, self.suspicion.crashes(request.caller), seconds)

    def _refuse_barred(self, now: float) -> list[Action]:
        """Fail the waiting requests of quarantined callers."""
        # Check one request per caller, because each check scans all requests.
        first = filter(None, map(self.queue.oldest_of, self.queue.callers))
        barred = {one.caller: error for one in first if (error := self._bar(one, now))}
        refused = [one for one in self.queue.values() if one.caller in barred] if barred else []
        for one in refused:
            del self.queue[one.waiter]
        return [actions.Fail(one.waiter, barred[one.caller]) for one in refused]

    def _ends_trial(self, waiting: Mapping[str | None, events.Wanted], now: float) -> bool:
        """Whether to probe the engine now, so that the next caller's trial can begin."""
        at = self.trials.probe_at(waiting, self.suspicion.watch)
        if now < at:
            self.trial_ends_at = at
            return False
        self.trials.probe()
        return True

    def _judge_crash(self, reason: str, now: float) -> tuple[Verdict, list[Action]]:
        """Find the callers that may have crashed the engine. Also returns a log message."""
        in_flight, waiting = self.leases.values(), self.queue.values()
        verdict = self.suspicion.judge(in_flight, waiting, self.trials.being_ended, now)
        return verdict, [actions.Tell(reports.of_crash(self, reason, verdict, now))]
