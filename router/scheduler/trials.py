"""Trials: while a model is under suspicion, its engine is used by one caller at a time.

A trial is short where others wait, and no request is interrupted. The next caller's trial
begins once the former one's requests have ended, or have been watched for long enough, and
the engine then still answers a probe. So an engine that dies at once, that hangs, or that is
left by the caller that hung it, dies in the trial of one caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from router.scheduler.events import Wanted

TRIAL = 1.0  # seconds for which a caller's requests are granted while others wait

Waiting = Mapping[str | None, Wanted]  # by caller: the oldest request that could be granted


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
        self._members: set[int] = set()  # the trial's requests that are in flight
        self._probed = self._passed = False  # after its requests; and the engine has answered
        self._last: dict[str, float] = {}  # by caller: when its last trial began
        self.unanswered = 0  # probes of this engine, for whatever reason

    @property
    def being_ended(self) -> str | None:
        """The caller whose trial is being ended by a probe."""
        return self._caller if self._probed and not self._passed else None

    def next(
        self, waiting: Waiting, answers: Callable[[str], int], now: float
    ) -> Wanted | None:
        """The request to grant; None where the present trial must end first.

        The operator's own requests need no trial. `answers`: how many whole ones a caller has
        had from this model. A new engine is tried first by the caller that has had the
        fewest, while no other caller could lose an answer with it.
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
        """A request goes in flight, as `next` said."""
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
        """A request is no longer in flight."""
        self._members.discard(waiter)

    def probe_at(self, waiting: Waiting, watch: float) -> float:
        """When to probe the engine, so that the next trial can begin; `inf`: it was done.

        `watch`: seconds for which the requests of a trial are watched, unless they end.
        """
        if self._probed:
            return inf
        ends_at = self._ends_at if self._caller in waiting else -inf
        return max(ends_at, self._latest_grant + watch) if self._members else ends_at

    def probe(self) -> None:
        """The engine is being probed: the next trial begins when it has answered."""
        self._probed = True

    def ask(self) -> None:
        """A probe goes out, for whatever reason."""
        self.unanswered += 1

    def respond(self) -> bool:
        """The engine has answered a probe. Whether this ends a trial.

        It does not while another probe has no answer: this one may be older than the trial's
        last request, which may have hung the engine since.
        """
        self.unanswered = max(0, self.unanswered - 1)
        if self.unanswered:
            return False
        ends, self._passed = self._probed and not self._passed, self._probed
        return ends
