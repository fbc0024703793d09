"""Decides when an engine may be made to leave for a waiting model.

An idle engine that will probably not be needed soon leaves at once. Any other engine leaves
only after some time, because each swap costs the time of a start: with too many swaps, no time
is left for work. `SWAP_PATIENCE` sets how long a model waits. By default, that is the swap
time, plus `PACE` swap times divided by the number of engines that could make room. So short
swaps come sooner, and so do swaps of one engine among many. The swap begins early enough that
the longest wait ends with it.

Three more rules keep an engine:

* It first takes the requests that waited for it while it started.
* It stays for as long as its own return would take, plus half of its drain time. Otherwise two
  models that are always busy would load more than they answer.
* While it gives an answer that is much longer than usual, it continues to answer others, up to
  twice the patience: it could not leave anyway.

The constants were found with `make bench-swap`. docs/swaps.md shows their effects.
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
LONG_ANSWER = 3.0  # times the usual answer
MOST_PATIENCE = 2.0  # times the patience: the longest wait for a long answer
# The requests that waited for an engine keep it for at most this long. After that, it may leave
# even if some of them still wait, because their answers may be long.
LONGEST_BATCH = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace during one pass."""

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
        """Seconds that an engine that is up now would need to return."""
        if slot.sleeps and slot.state is not State.ASLEEP:
            return self._expected(Stage.WAKE, slot)
        return self.starts_in(slot)

    def starts_in(self, slot: Slot) -> float:
        """Seconds of a start, assuming a prestarted process if that is possible."""
        ahead = self.limits.standby and not slot.no_prestart
        return self._expected(Stage.FROM_GATE if ahead else Stage.START, slot)

    def swap_time(self, victim: Slot, slot: Slot) -> float:
        """Seconds during which the device serves nobody, if `victim` makes room for `slot`."""
        stage = Stage.SLEEP if victim.sleeps else Stage.STOP
        return self._expected(stage, victim) + self.return_time(slot)

    def patience(self, swap: float) -> float:
        """Seconds that a model waits for an engine in use, including its own start."""
        if self.limits.patience is not None:
            return self.limits.patience
        return (1.0 + PACE / max(self.engines, 1)) * swap

    def leaves_at(self, victim: Slot, slot: Slot) -> float:
        """When `victim` may begin to make room for `slot`. A time in the past means at once."""
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
            # At that time it will have been quiet for as long as a wait would last.
            at = min(at, self._quiet_at(victim, patience))
        return max(at, self.now + self._until_gate(slot))

    def _answers_long(self, victim: Slot) -> bool:
        """Whether the oldest answer in progress takes much longer than usual. Until it ends,
        the engine can't leave, so it may as well answer others."""
        if not (victim.leases and victim.answered):
            return False
        began = next(iter(victim.since.values()))
        return self.now - began > LONG_ANSWER * victim.service

    def _quiet_at(self, victim: Slot, seconds: float) -> float:
        return -inf if victim.demand.gap >= seconds else victim.demand.last + seconds

    def _until_gate(self, slot: Slot) -> float:
        """Seconds until a prestarted process can load weights."""
        standby = slot.standby
        if standby is None or standby.standing:
            return 0.0
        ready_at = standby.since + self._expected(Stage.PRESTART, slot)
        return max(0.0, ready_at - self.now)

    def _expected(self, stage: Stage, slot: Slot) -> float:
        return self.history.expected(stage, slot.key, slot.size)
