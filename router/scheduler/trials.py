"""Trials: while a model is under suspicion, one caller at a time uses its engine.

A trial is short while others wait, and it interrupts no request. The next caller's trial begins
when the earlier caller's requests have ended or have been watched long enough, and the engine
then still answers a probe. So if the engine dies at once, hangs, or is hung by a caller that
disconnects, that happens during the trial of one caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from router.scheduler.events import Wanted

TRIAL = 1.0  # seconds for which a caller's requests are granted while others wait

Waiting = Mapping[str | None, Wanted]  # the oldest grantable request of each caller


class Trials:
    """The trials of one engine, from its start to its end."""

    __slots__ = (
        "_caller",
        "_ends_at",
        "_last",
        "_latest_grant",
        "_members",
        "_passed",
        "_probed",
        "unanswered",
    )

    def __init__(self) -> None:
        self._caller: str | None = None  # on trial now; None: no trial has begun
        self._ends_at = self._latest_grant = -inf
        self._members: set[int] = set()  # the trial's requests in flight
        self._probed = self._passed = False  # the trial's probe was sent; it was answered
        self._last: dict[str, float] = {}  # by caller, the start of its last trial
        self.unanswered = 0  # probes of this engine, for any reason

    @property
    def being_ended(self) -> str | None:
        """The caller whose trial a probe is about to end."""
        return self._caller if self._probed and not self._passed else None

    def next(
        self, waiting: Waiting, answers: Callable[[str], int], now: float
    ) -> Wanted | None:
        """The request to grant; None if the current trial must end first.

        The operator's own requests need no trial. `answers` returns the number of complete
        answers that a caller has had from this model. The caller with the fewest is first to
        try a new engine, as long as no other caller could lose an answer.
        """
        if None in waiting:
            return waiting[None]
        if self._caller in waiting and (len(waiting) == 1 or now < self._ends_at):
            return waiting[self._caller]
        if self._caller is not None and not self._passed:
            return None
        others = (caller for caller in waiting if caller not in (self._caller, None))
        first = min(
            others,
            key=lambda one: (
                self._last.get(one or "", -inf),
                answers(one or ""),
                waiting[one].age,
            ),
        )
        return waiting[first]

    def grant(self, request: Wanted, now: float) -> None:
        """Note that the request returned by `next` is in flight."""
        if request.caller is None:
            return
        if request.caller != self._caller:
            self._caller, self._ends_at = request.caller, now + TRIAL
            self._members.clear()
            self._last[request.caller] = now
        self._members.add(request.waiter)
        self._latest_grant = now
        self._probed = self._passed = False

    def end(self, waiter: int) -> None:
        """Note that a request is no longer in flight."""
        self._members.discard(waiter)

    def probe_at(self, waiting: Waiting, watch: float) -> float:
        """When to probe the engine so that the next trial can begin; `inf` if it was probed.
        `watch`: seconds for which the requests of a trial are watched, unless they end."""
        if self._probed:
            return inf
        ends_at = self._ends_at if self._caller in waiting else -inf
        return max(ends_at, self._latest_grant + watch) if self._members else ends_at

    def probe(self) -> None:
        """Note that the trial's probe is sent. The next trial begins after the answer."""
        self._probed = True

    def ask(self) -> None:
        """Note that a probe is sent, for any reason."""
        self.unanswered += 1

    def respond(self) -> bool:
        """Note the answer to a probe. Returns whether it ends a trial.

        It does not while another probe is unanswered: the answered one may be older than the
        trial's last request, which may have hung the engine since.
        """
        self.unanswered = max(0, self.unanswered - 1)
        if self.unanswered:
            return False
        ends, self._passed = self._probed and not self._passed, self._probed
        return ends
