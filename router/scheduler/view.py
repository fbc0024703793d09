"""What a plan is made from: the models that wait, the engines, and the room for them.

A view changes nothing, and holds for one pass. What is dear to compute is computed when it is
asked for.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from router.errors import RouterError
from router.scheduler import rejections
from router.scheduler.fairness import Holdings, StartSeconds
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.pace import Pace
from router.scheduler.roster import Roster
from router.scheduler.state import Limits, Slot
from router.scheduler.worth import worth


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room for engines: theirs, or what is left of it."""

    memory: int  # bytes
    engines: int

    def __add__(self, other: Capacity) -> Capacity:
        return Capacity(self.memory + other.memory, self.engines + other.engines)

    def __sub__(self, other: Capacity) -> Capacity:
        return Capacity(self.memory - other.memory, self.engines - other.engines)

    def within(self, other: Capacity) -> bool:
        return self.memory <= other.memory and self.engines <= other.engines


def held_by(slots: Iterable[Slot]) -> Capacity:
    """What these hold. An engine that sleeps is not loaded."""
    memory = engines = 0
    for slot in slots:
        memory += slot.held
        engines += slot.loaded
    return Capacity(memory, engines)


@dataclass(frozen=True)
class View:
    """What a plan is made from.

    `written_off`: bytes of the budget that are lost. `free`: bytes measured in this pass; None
    where they were not measured.
    """

    roster: Roster
    limits: Limits
    history: History
    starts: StartSeconds
    now: float
    written_off: int = 0
    free: int | None = None

    @cached_property
    def pace(self) -> Pace:
        up = len(self.roster.in_state(State.READY))
        stay = sum(slot.state is State.READY for slot in self.roster.pinned.values())
        return Pace(self.limits, self.history, self.now, up - stay)

    @cached_property
    def holdings(self) -> Holdings:
        return Holdings(self.roster.engines, self.roster.waited_for, self.now)

    @cached_property
    def whole(self) -> Capacity:
        """All that engines may hold."""
        memory = self.limits.budget - self.written_off
        return Capacity(memory, self.limits.max_loaded or sys.maxsize)

    @cached_property
    def room(self) -> Capacity:
        """What pinned engines leave to all others together."""
        return self.whole - held_by(self.roster.pinned.values())

    def unfit(self, slot: Slot) -> RouterError | None:
        """Why an engine of this size can't start, however long it waits; None where it can."""
        if slot.claim > self.limits.budget:
            return rejections.too_large(slot.claim, self.limits.budget)
        if slot.claim > self.whole.memory:
            return rejections.memory_missing()
        fits = Capacity(slot.claim, 1).within(self.room)
        return None if fits else rejections.no_room()

    def turn(self, slot: Slot) -> tuple[float, int]:
        """Models of callers that have had their share of starts come last; then by age."""
        return self.starts.overdraft(slot.queue.callers, self.now), slot.age

    def in_turn(self) -> Iterator[Slot]:
        """The models that may start now, in the order in which they do."""
        late: list[Slot] = []
        over = self.starts.over_allowance(self.now)
        for slot in self.roster.line:
            if self.now < slot.retry_at:
                continue
            if over and over.issuperset(slot.queue.callers):
                late.append(slot)
            else:
                yield slot
        late.sort(key=self.turn)
        yield from late

    def by_loss(self, slots: Iterable[Slot]) -> Iterator[Slot]:
        """Engines in the order in which they make room. Mostly the first few are enough."""
        pace, eviction = self.pace, self.limits.eviction
        ranks: defaultdict[tuple[bool, int], list[Slot]] = defaultdict(list)
        for slot in slots:
            ranks[self.holdings.rank(slot)].append(slot)
        for _, equals in sorted(ranks.items(), key=itemgetter(0)):
            equals.sort(key=lambda one: (worth(one, pace, eviction), one.last_used))
            yield from equals
