"""How an engine starts and stops, by plan or by the operator's command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from router.models import EngineSpec
from router.scheduler import actions
from router.scheduler.actions import Action
from router.scheduler.lifecycle import Cause, State
from router.scheduler.memory import Shrink
from router.scheduler.serving_slot import ServingSlot
from router.scheduler.standby import Standby


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices of an engine that starts."""

    devices: tuple[int, ...]
    budget: int  # bytes of each device that engines may use


class StartingSlot(ServingSlot):
    """The part of `EngineLife` that starts, wakes, drains and evicts."""

    __slots__ = ()

    def prestart(self, now: float, *, place: Placement, whole: bool) -> Action:
        """Start the process up to its gate, with the same allotment that `start` would give."""
        if whole and self._may_have_all:
            allotment = self._allotment(place.budget, place, whole=True, alone=True)
            allotment = replace(allotment, claim=place.budget)
        else:
            allotment = self._allotment(self.claim, place, whole=self.claim >= place.budget)
        caller = self.oldest.caller if self.queue else None
        self.standby = Standby(next(self._numbers), allotment, now, caller)
        return actions.Prestart(self.spec, self.standby.generation, self.snapshot, allotment)

    def start(self, free: int, now: float, *, place: Placement, whole: bool) -> list[Action]:
        """Start the engine, or wake it if it sleeps.

        `free`: bytes measured just now, on the fullest of its devices. `whole`: no other model
        is wanted, so it may have all memory of its devices.
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
        """`alone`: no other model is wanted, so sleeping would help nobody."""
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
        """Make room. `sleep`: keep the weights in host memory instead of stopping."""
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
        return self._unloaded(now) if self.unloads else self._stop(Cause.EXPIRED, now)

    def _unloaded(self, now: float) -> Action:
        return replace(self._stop(Cause.UNLOADED, now), group=self.parted_by)

    def unload(self, now: float, parted_by: str | None = None) -> list[Action]:
        """Stop on the operator's command.

        A starting engine stops at once. One that is up stops when it is idle and no other
        memory changes hands. Waiting requests are served by the next start. `parted_by`: the
        group whose rule no longer allows it beside others, for the log.
        """
        self.pin, self.parted_by = False, parted_by
        if self.state in (State.STARTING, State.FALLING_ASLEEP, State.WAKING):
            return [self._unloaded(now)]
        self.unloads = self.state is not State.FETCHING
        self.drain(now)
        if self.state is State.FETCHING and not self.queue:
            return self._cancel_fetch(Cause.ABANDONED, now)
        return [] if self.queue else self.dismiss("the operator has unloaded its model", now)

    def pin_down(self, now: float) -> list[Action]:
        """Never evict or expire it, on the operator's command."""
        self.pin, self.unloads = True, False
        if self.state is State.STARTING:
            self.linger_until = None
        return self.revive(now) if self.state is State.DRAINING else []

    def unpin(self, now: float) -> None:
        self.pin = False
        if not self.queue:
            self._linger(now)

    def rule(self, spec: EngineSpec, now: float) -> list[Action]:
        """Apply the rules of `spec` from now on. Requests in flight continue."""
        self.spec, self.latest = self.spec.ruled_as(spec), self.latest.ruled_as(spec)
        self.overbooked = len(self.leases)
        if not self.pinned:
            if not self.queue and self.linger_until is None:
                self._linger(now)
            return self._grant(now)
        if self.state is State.STARTING:
            self.linger_until = None
        shutting_down = self.drain_deadline is not None
        if self.state is State.DRAINING and not (self.unloads or shutting_down):
            return self.revive(now)
        return self._grant(now)

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
