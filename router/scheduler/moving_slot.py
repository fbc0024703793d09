"""State changes of a slot, and their effects on its turn, its process and its cool-down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from router.errors import RouterError
from router.models import EngineSpec
from router.scheduler import actions, events, memory
from router.scheduler.actions import Action
from router.scheduler.fairness import StartSeconds
from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import CUTS_OFF, Cause, IllegalTransition, State, after
from router.scheduler.limits import Limits
from router.scheduler.memory import Shrink
from router.scheduler.shared_slot import SharedSlot
from router.scheduler.state import LONGEST_BACKOFF, SHRUNK_FOR
from router.scheduler.waiting import Line, QueuePlaces

FIRST_BACKOFF = 1.0  # seconds after the first failure in a row; doubles up to `LONGEST_BACKOFF`


@dataclass(frozen=True, slots=True)
class Shared:
    """State that all engines share."""

    limits: Limits
    numbers: Iterator[int]  # unique numbers for starts and downloads
    places: QueuePlaces = field(default_factory=QueuePlaces)
    starts: StartSeconds = field(default_factory=StartSeconds)
    history: History = field(default_factory=History)


class MovingSlot(SharedSlot):
    """The part of `EngineLife` that changes its state."""

    __slots__ = ("_history", "_limits", "_numbers", "_starts")

    def __init__(self, spec: EngineSpec, shared: Shared) -> None:
        super().__init__(spec, claim=0, queue=Line(shared.places))
        self._limits, self._numbers = shared.limits, shared.numbers
        self._starts, self._history = shared.starts, shared.history

    def note(self, event: events.Event, now: float) -> None:
        """Record an event, for the report of a defect."""
        self.story.append((now, event))

    def _move(self, cause: Cause, now: float) -> None:
        """Enter the next state. Changes nothing if it raises `IllegalTransition`."""
        try:
            following = after(self.state, cause)
        except IllegalTransition:
            raise self._illegal(cause) from None
        if self.state is State.STARTING:  # charge the start, even if it failed
            self._starts.charge(self.started_for, now - self.started_at, now)
        self.state, self.moved_at, self.trial_ends_at = following, now, inf
        self.story.append((now, cause))

    def _illegal(self, cause: Cause) -> IllegalTransition:
        in_flight = f" with {len(self.leases)} requests in flight" if self.leases else ""
        return IllegalTransition(self.state, cause, f"{self.key}{in_flight}", self.tell_story())

    def expect(self, spec: EngineSpec) -> None:
        """Keep these settings for the next engine, with the rules that are in force now: the
        request may have been authorized under earlier rules."""
        self.latest = spec.ruled_as(self.spec)

    def configure(self, spec: EngineSpec, device: int, now: float) -> None:
        """Apply the latest settings and compute the claim. There must be no engine.

        `device`: bytes of a device that engines may use.
        """
        self.spec = self.latest = spec
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

    def _begin_turn(self, age: int, now: float) -> None:
        """The model begins to wait for room. Its turn outlives the request that began it."""
        if self.state is not State.READY:
            self.turn, self.turn_since = age, now

    def _end_turn(self) -> None:
        self.turn, self.turn_since = None, inf

    def _keep_turn(self, now: float) -> None:
        """Requests that wait for a stopping engine begin to wait for room."""
        if self.queue and self.turn is None:
            self._begin_turn(self.oldest.age, now)

    def fail(self, error: RouterError, *, digest: str | None = None) -> list[Action]:
        """Fail all waiting requests, or those with one credential."""
        failed = [
            waiter
            for waiter, request in self.queue.items()
            if digest is None or request.credential_digest == digest
        ]
        for waiter in failed:
            del self.queue[waiter]
        return [actions.Fail(waiter, error) for waiter in failed]

    def dismiss(self, why: str, now: float) -> list[Action]:
        """End the prestarted process, if there is one.

        If nobody waits for the model anymore, its time is charged like a start: a caller must
        not be able to have processes started for free.
        """
        standby, self.standby = self.standby, None
        if standby is None:
            return []
        if not self.queue:
            worked_until = now if standby.stood_at is None else standby.stood_at
            self._starts.charge(standby.caller, worked_until - standby.since, now)
        return [actions.Stop(self.key, standby.generation, why, at_once=True)]

    def probe(self) -> list[Action]:
        """Check whether a running engine still generates."""
        if not self.running:
            return []
        self.probing = True
        self.trials.ask()
        return [actions.Probe(self.key, self.generation)]

    def _stop(self, cause: Cause, now: float, detail: str = "") -> actions.Stop:
        if self.leases and cause not in CUTS_OFF:
            raise self._illegal(cause)
        self._move(cause, now)
        self._keep_turn(now)
        self.drain_deadline = self.linger_until = None
        self.leases.clear()
        self.since.clear()
        self.turns.forget()
        why = f"{cause}: {detail}" if detail else str(cause)
        return actions.Stop(self.key, self.generation, why, at_once=cause in CUTS_OFF)

    def _cool_down(self, now: float, start: events.StartFailed | None = None) -> None:
        """Count a failed start or a crash, and set when the engine may start again.

        `start`: the report of a start that failed by itself.
        """
        self.told = start.told if start else ""
        self.unsupported = start is not None and start.unsupported
        backoff = min(FIRST_BACKOFF * 2**self.failures, LONGEST_BACKOFF)
        self.retry_at = now + (LONGEST_BACKOFF if self.unsupported else backoff)
        self.failures, self.cools_for = min(self.failures + 1, 32), None

    def _took(self, stage: Stage, seconds: float) -> None:
        self._history.took(stage, self.key, self.size, seconds)
