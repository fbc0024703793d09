"""When an engine may be made to leave for a model that waits.

An idle engine that is not likely to be wanted back soon leaves at once. Any other leaves at a
pace, because each swap costs the time of a start: a model waits for so long that all swaps
together leave time to work. `SWAP_PATIENCE` says how long; by default it is what the swap
itself takes, and `PACE` times as much again, shared by the engines that could make room: short
swaps come sooner, and so do those of one engine of many. The swap begins early enough that the
longest wait ends with it.

Three more things keep an engine. The requests that waited for it while it started are taken
first. It stays for as long as its own return would take, and for half of the time that its
drain would, so that two models that are always busy do not load more than they answer. And
while it gives an answer that is much longer than usual, it goes on answering others, up to
twice the patience: it could not leave anyway.

The figures were found with `make bench-swap`; docs/swaps.md has what they lead to.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from router.scheduler.history import History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.state import Slot

PACE = 1.75
DRAIN_COUNTS = 0.5
LONG_ANSWER = 3.0  # times the usual one
MOST_PATIENCE = 2.0  # times the patience: no longer does a model wait for a long answer
# The requests that waited for an engine keep it for no longer than this, after which it is
# another's turn even if some of them still wait: their answers may be long.
LONGEST_BATCH = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one pass."""

    limits: Limits
    history: History
    now: float
    engines: int = 1  # that could make room

    def return_time(self, slot: Slot) -> float:
        """Seconds from the decision to start a model until it answers."""
        if slot.state is State.ASLEEP:
            return self._expected(Stage.WAKE, slot)
        if slot.standby is None:
            return self._expected(Stage.START, slot)
        return self._until_gate(slot) + self._expected(Stage.FROM_GATE, slot)

    def comes_back_in(self, slot: Slot) -> float:
        """Seconds that an engine which is up now will need to return."""
        if slot.sleeps and slot.state is not State.ASLEEP:
            return self._expected(Stage.WAKE, slot)
        return self.starts_in(slot)

    def starts_in(self, slot: Slot) -> float:
        """Seconds of a start, with the process ahead where that is possible."""
        ahead = self.limits.standby and not slot.no_prestart
        return self._expected(Stage.FROM_GATE if ahead else Stage.START, slot)

    def swap_time(self, victim: Slot, slot: Slot) -> float:
        """Seconds that the device works for nobody, if one makes room for the other."""
        stage = Stage.SLEEP if victim.sleeps else Stage.STOP
        return self._expected(stage, victim) + self.return_time(slot)

    def patience(self, swap: float) -> float:
        """Seconds for which a model waits for an engine in use, its own start included."""
        if self.limits.patience is not None:
            return self.limits.patience
        return (1.0 + PACE / max(self.engines, 1)) * swap

    def leaves_at(self, victim: Slot, slot: Slot) -> float:
        """When `victim` may begin to make room for `slot`; in the past: at once."""
        if victim.state is not State.READY or victim.unneeded:
            return -inf
        swap = self.swap_time(victim, slot)
        patience = self.patience(swap)
        drain = max(victim.drains_in, victim.service) if victim.leases else 0.0
        at = slot.turn_since + patience - swap - drain
        stay = min(patience, self.comes_back_in(victim) + DRAIN_COUNTS * drain)
        at = max(at, victim.ready_at + stay)
        if self._answers_long(victim):
            at = max(at, slot.turn_since + MOST_PATIENCE * patience)
        if victim.serves_batch:
            at = max(at, victim.ready_at + LONGEST_BATCH)
        elif victim.unused:
            # By then it has been quiet for as long as a wait would be.
            at = min(at, self._quiet_at(victim, patience))
        return max(at, self.now + self._until_gate(slot))

    def _answers_long(self, victim: Slot) -> bool:
        """Whether an answer is under way that takes much longer than usual. Until it ends, the
        engine can't leave, so it may as well answer others."""
        if not (victim.leases and victim.answered):
            return False
        began = next(iter(victim.since.values()))
        return self.now - began > LONG_ANSWER * victim.service

    def _quiet_at(self, victim: Slot, seconds: float) -> float:
        return -inf if victim.demand.gap >= seconds else victim.demand.last + seconds

    def _until_gate(self, slot: Slot) -> float:
        """Seconds until a process that was prestarted can load weights."""
        standby = slot.standby
        if standby is None or standby.standing:
            return 0.0
        ready_at = standby.since + self._expected(Stage.PRESTART, slot)
        return max(0.0, ready_at - self.now)

    def _expected(self, stage: Stage, slot: Slot) -> float:
        return self.history.expected(stage, slot.key, slot.size)
