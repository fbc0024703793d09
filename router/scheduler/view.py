"""The input of a plan: the waiting models, the engines, and their room.

A view changes nothing and is valid for one pass. Expensive values are computed on demand.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from router.errors import RouterError
from router.scheduler import rejections
from router.scheduler.eviction_cost import eviction_cost
from router.scheduler.fairness import Holdings, StartSeconds
from router.scheduler.group_rules import may_bar
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.pace import Pace
from router.scheduler.placement import Devices, Room, placements
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot


@dataclass(frozen=True)
class View:
    """The input of a plan.

    `written_off`: lost bytes of the budget, by device. `free`: bytes of each device, measured
    in this pass; None if they were not measured.
    """

    index: SlotIndex
    limits: Limits
    history: History
    starts: StartSeconds
    now: float
    written_off: Sequence[int] = ()  # empty: nothing is lost
    free: Sequence[int] | None = None

    @cached_property
    def pace(self) -> Pace:
        up = len(self.index.in_state(State.READY))
        stay = sum(slot.state is State.READY for slot in self.index.pinned.values())
        return Pace(self.limits, self.history, self.now, up - stay)

    @cached_property
    def holdings(self) -> Holdings:
        return Holdings(self.index.engines, self.index.waited_for, self.now)

    @cached_property
    def whole(self) -> Room:
        """All room that engines may use."""
        memory = [self.limits.budget] * self.limits.devices
        for device, lost in enumerate(self.written_off):
            memory[device] -= lost
        return Room(memory, self.limits.max_loaded or sys.maxsize)

    @cached_property
    def room(self) -> Room:
        """The room that pinned engines leave to all others."""
        left = self.whole.copy()
        left.hold(self.index.pinned.values())
        return left

    @property
    def available(self) -> Room:
        """The room that no engine and no prestarted process holds. It is negative if an engine
        has taken more than its claim."""
        left, index = self.whole.copy(), self.index
        for device, size in enumerate(index.held):
            left.change((device,), -size)
        left.change((), 0, engines=-index.loaded)
        left.loaded_groups.add(index.loaded_groups)
        for slot in index.standby.values():
            if slot.standby is not None:
                left.change(slot.standby.devices, -self.limits.standby_claim)
        return left

    @cached_property
    def _places(self) -> dict[tuple[int, int | None], tuple[Devices, ...]]:
        return {}

    def places(self, slot: Slot) -> tuple[Devices, ...]:
        """The possible placements of its engine: only one if it is up or asleep."""
        if slot.state.claims:
            return (slot.devices,)
        span, base = slot.place
        found = self._places.get((span, base))
        if found is None:
            found = self._places[span, base] = placements(self.limits.devices, span, base)
        return found

    def unfit(self, slot: Slot) -> RouterError | None:
        """Why an engine of this size can never start; None if it can."""
        claim, budget, places = slot.claim, self.limits.budget, self.places(slot)
        if claim > budget or not places:
            return rejections.too_large(claim, slot.span, budget, self.limits.devices)
        if self.room.fits_any(slot, places):
            return None
        if not self.whole.fits_any(slot, places):
            return rejections.memory_missing()
        bar = self.room.loaded_groups.bar(slot.spec.group)
        return rejections.no_room() if bar is None else rejections.barred_by_group(bar)

    def contends(self, slot: Slot, engine: Slot) -> bool:
        """Whether an engine that is up blocks a model that waits."""
        most = self.limits.max_loaded
        if most is not None and self.index.loaded >= most:
            return True
        if may_bar(engine.spec.group, slot.spec.group):
            return True
        return any(not set(one).isdisjoint(engine.devices) for one in self.places(slot))

    def turn(self, slot: Slot) -> tuple[float, int]:
        """The sort key of a model's turn: start seconds over the allowance, then age."""
        return self.starts.overdraft(slot.queue.callers, self.now), slot.age

    def in_turn(self) -> Iterator[Slot]:
        """The models that may start now, in the order of their turns."""
        late: list[Slot] = []
        over = self.starts.over_allowance(self.now)
        for slot in self.index.line:
            if self.now < slot.retry_at:
                continue
            if over and over.issuperset(slot.queue.callers):
                late.append(slot)
            else:
                yield slot
        late.sort(key=self.turn)
        yield from late

    def by_loss(self, slots: Iterable[Slot]) -> Iterator[Slot]:
        """Yield engines in eviction order, lazily: usually the first few are enough."""
        pace, eviction = self.pace, self.limits.eviction
        ranks: defaultdict[tuple[bool, int], list[Slot]] = defaultdict(list)
        for slot in slots:
            ranks[self.holdings.rank(slot)].append(slot)
        for _, equals in sorted(ranks.items(), key=itemgetter(0)):
            equals.sort(key=lambda one: (eviction_cost(one, pace, eviction), one.last_used))
            yield from equals
