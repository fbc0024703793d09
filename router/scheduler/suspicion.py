"""Finds the callers that may have crashed a model's engine, and the consequences.

If only one caller can have caused a crash, it is the author. If several can, each is a suspect,
and the model is under suspicion for a while: only one caller at a time uses its engine
(`trials.py`), so that the next crash has an author. A caller is quarantined from the model if
it is the author of one crash and the author or a suspect of another, but only while others use
the model.

A suspect is never more than that, no matter how often others crash an engine that it also uses:
a busy caller is in flight at every crash. A caller can't end a suspicion early.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf

from router.scheduler.events import Wanted

SUSPICION = 600.0  # seconds after a crash; doubles with each further crash
QUARANTINE = 600.0  # seconds; doubles with each further crash of the same author
LONGEST = 3600.0  # seconds; the maximum of both
# Seconds. A crash is noticed late: SGLang takes 6 s to notice that its scheduler is dead.
RECENT = 10.0
FIRST_WATCH, LONGEST_WATCH = 3.0, 120.0  # seconds that a caller's requests are on trial
CALLERS_REMEMBERED = 256  # per model
DEATHS_REMEMBERED = 4096  # requests, per model


class Conduct:
    """What one caller's requests did to one model's engines."""

    __slots__ = ("answers", "barred_until", "crashes", "ended_at", "left_at")

    def __init__(self) -> None:
        self.answers = 0  # complete answers
        self.ended_at = self.left_at = -inf  # end of its last request; of one without an answer
        self.crashes = 0
        self.barred_until = -inf

    def end(self, now: float, *, answered: bool) -> None:
        self.ended_at = now
        if answered:
            self.answers += 1
        else:
            self.left_at = now

    def suspect(self) -> None:
        self.crashes = max(self.crashes, 1)

    def blame(self, now: float, *, alone: bool) -> None:
        """`alone`: the crash harmed nobody else, so it does not prolong a quarantine."""
        self.crashes = min(self.crashes + 1, 2 if alone else 16)
        if self.crashes > 1:
            self.barred_until = now + min(QUARANTINE * 2 ** (self.crashes - 2), LONGEST)

    def clear(self) -> None:
        self.crashes, self.barred_until = 0, -inf


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict about one crash. `author` is None if it is unknown."""

    suspects: tuple[str, ...]  # callers that may have caused it
    author: str | None
    alone: bool  # the author was the only caller of this model for SUSPICION seconds


class Suspicion:
    """What is remembered about a model's callers, to judge the next crash of its engine."""

    __slots__ = ("_callers", "_crashes", "_deaths", "_proof", "_trial_began", "until", "watch")

    def __init__(self) -> None:
        self._callers: dict[str, Conduct] = {}  # in the order of their last use
        self._crashes = 0  # since the suspicion began
        self._deaths: dict[int, bool] = {}  # by a request's age: whether it may be retried
        self._proof = self._trial_began = -inf  # when the engine was last known to work
        self.watch = FIRST_WATCH
        self.until = -inf

    def active(self, now: float) -> bool:
        return now < self.until

    # --- requests --------------------------------------------------------------------

    def end(self, caller: str | None, now: float, *, answered: bool) -> None:
        """Note the end of a request that was in flight."""
        if caller is None:
            return
        self._conduct(caller).end(now, answered=answered)
        if answered:
            self._proof = now
        if len(self._callers) > CALLERS_REMEMBERED:
            self._forget_some()

    def answers(self, caller: str | None) -> int:
        """How many complete answers this caller has had from the model."""
        conduct = self._callers.get(caller or "")
        return conduct.answers if conduct else 0

    def barred_for(self, caller: str | None, present: Iterable[Wanted], now: float) -> float:
        """Seconds for which a caller is quarantined; 0.0 if it is not.

        `present`: the requests in flight or waiting. A caller that has the model to itself is
        not quarantined, because that would help nobody.
        """
        if caller is None or not self.active(now):
            return 0.0
        conduct = self._callers.get(caller)
        if conduct is None or conduct.barred_until <= now:
            return 0.0
        return conduct.barred_until - now if self.shared(caller, present, now) else 0.0

    def shared(self, caller: str, present: Iterable[Wanted], now: float) -> bool:
        """Whether other callers use this model that are not quarantined from it."""
        return any(request.caller not in (caller, None) for request in present) or any(
            conduct.ended_at > now - SUSPICION and conduct.barred_until <= now
            for other, conduct in self._callers.items()
            if other != caller
        )

    def may_retry(self, age: int) -> bool | None:
        """Whether a request may be retried; None if no engine crashed during it."""
        return self._deaths.get(age)

    # --- engines ---------------------------------------------------------------------

    def started(self, now: float) -> None:
        """Note that a new engine is ready. Earlier requests can't have harmed it."""
        self._proof = self._trial_began = now

    def trial_ended(self, now: float) -> None:
        """Note that the engine still works after a trial."""
        self._proof = self._trial_began = now

    def judge(
        self,
        in_flight: Collection[Wanted],
        waiting: Collection[Wanted],
        on_trial: str | None,
        now: float,
    ) -> Verdict:
        """Judge a crash. `on_trial`: the caller whose trial a probe is about to end."""
        suspects = self._suspects(in_flight, on_trial, now)
        author = suspects[0] if len(suspects) == 1 else None
        shared = author is None or self.shared(author, (*in_flight, *waiting), now)
        if suspects:
            self._open(now, certain=author is not None)
        for caller in suspects:
            conduct = self._conduct(caller)
            conduct.end(now, answered=False)
            if caller == author:
                conduct.blame(now, alone=not shared)
                self.until = max(self.until, conduct.barred_until + SUSPICION)
            else:
                conduct.suspect()
        verdict = Verdict(suspects, author, alone=not shared)
        for request in in_flight:
            self._note_death(request, verdict)
        self._forget_some()
        return verdict

    def crashes(self, caller: str) -> int:
        """The crashes that count against this caller, as author or suspect."""
        return self._callers[caller].crashes

    def _suspects(
        self, in_flight: Iterable[Wanted], on_trial: str | None, now: float
    ) -> tuple[str, ...]:
        """The callers that have a request in flight, or had one that ended recently.

        A request that ended without an answer counts until the engine has answered another one:
        a caller that hangs an engine and disconnects is gone when the hang is noticed.
        """
        callers = {request.caller for request in in_flight} | {on_trial}
        since = max(now - RECENT, self._trial_began)
        unproven = max(min(self._proof - RECENT, since), self._trial_began)
        for caller, conduct in self._callers.items():
            if conduct.ended_at >= since or conduct.left_at >= unproven:
                callers.add(caller)
        return tuple(sorted(caller for caller in callers if caller is not None))

    def _open(self, now: float, *, certain: bool) -> None:
        """Put the model under suspicion, or prolong the suspicion."""
        if not self.active(now):
            self._crashes, self.watch = 0, FIRST_WATCH
            for conduct in self._callers.values():
                conduct.clear()
        elif not certain:  # requests were still in flight after their trial
            self.watch = min(self.watch * 10, LONGEST_WATCH)
        lasts = min(SUSPICION * 2**self._crashes, LONGEST)
        self._crashes = min(self._crashes + 1, 16)
        self.until = max(self.until, now + lasts)

    def _note_death(self, request: Wanted, verdict: Verdict) -> None:
        """Decide whether a request whose engine crashed may be retried without an error.

        It may be retried once, unless it is the likely cause and others would suffer: on a
        shared engine, its caller must have had at least half as many answers as any other
        suspect.
        """
        again = request.age not in self._deaths and (
            request.caller is None
            or verdict.alone
            or (request.caller != verdict.author and self._known(request.caller, verdict))
        )
        self._deaths.pop(request.age, None)
        self._deaths[request.age] = again
        if len(self._deaths) > DEATHS_REMEMBERED:
            del self._deaths[next(iter(self._deaths))]

    def _known(self, caller: str, verdict: Verdict) -> bool:
        most = max(self.answers(suspect) for suspect in verdict.suspects)
        return 0 < most <= 2 * self.answers(caller)

    def _conduct(self, caller: str) -> Conduct:
        conduct = self._callers.pop(caller, None) or Conduct()
        self._callers[caller] = conduct
        return conduct

    def _forget_some(self) -> None:
        """Forget the callers that used the model longest ago, innocent ones first."""
        for innocent in (True, False):
            for caller in [*self._callers][:-1]:
                if len(self._callers) <= CALLERS_REMEMBERED:
                    return
                if not (innocent and self._callers[caller].crashes):
                    del self._callers[caller]
