"""Who may start, who must go, who waits, who is refused. Decides; touches nothing.

The line is made of downloaded models that somebody waits for, the longest-waiting
first: requests for one model are served together, whenever each came. Memory changes
hands for one engine at a time, so a plan orders at most one start or one stop.

Room that was freed for a waiter is that waiter's: whoever stands behind it in the line
uses only what it can't use. Victims are idle engines, least recently used first. For
the head of the line alone, busy engines drain, again least recently used first, if
even all idle ones are not enough; they are not made to drain for a waiter that is
younger than one of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from router.errors import RouterError
from router.scheduler import rejections
from router.scheduler.lifecycle import State
from router.scheduler.slots import Limits, Slot


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. `drain` None: free memory is not known in this pass, so engines
    that drain go on doing so, and no other begins."""

    start: Slot | None = None
    free: int = 0  # bytes measured free for this start
    evict: Slot | None = None
    expire: Slot | None = None
    drain: tuple[Slot, ...] | None = ()
    refuse: tuple[tuple[Slot, RouterError], ...] = ()
    measure: bool = False  # something could start: measure, then plan again
    wake_at: float | None = None  # when time alone will change this plan


@dataclass(frozen=True, slots=True)
class Room:
    memory: int  # bytes
    seats: int  # engines

    def __add__(self, other: Room) -> Room:
        return Room(self.memory + other.memory, self.seats + other.seats)

    def __sub__(self, other: Room) -> Room:
        return Room(self.memory - other.memory, self.seats - other.seats)

    def within(self, other: Room) -> bool:
        return self.memory <= other.memory and self.seats <= other.seats


def plan(
    slots: Collection[Slot], limits: Limits, written_off: int, free: int | None, now: float
) -> Plan:
    """Decide one pass. `free`: bytes measured in this pass, None where they were not."""
    return _Walk(slots, limits, written_off, free, now).down_the_line()


class _Walk:
    """One walk down the line, with what is still to be given away."""

    def __init__(
        self,
        slots: Collection[Slot],
        limits: Limits,
        written_off: int,
        free: int | None,
        now: float,
    ) -> None:
        self._slots, self._limits, self._free, self._now = slots, limits, free, now
        self._written_off = written_off
        self._loading = any(slot.state.loading for slot in slots)
        # Room that whoever comes next in the line may use now, and once all that was
        # told to leave so far has left.
        self._room = _whole(limits, written_off) - _total(slots)
        self._later = self._room + _total(s for s in slots if s.state is State.STOPPING)
        self._spared = [slot for slot in slots if not slot.spec.pinned]
        self._drain: list[Slot] = []
        self._refuse: list[tuple[Slot, RouterError]] = []

    def down_the_line(self) -> Plan:
        head = True
        for slot in _line(self._slots, self._now):
            if error := unfit(slot, self._slots, self._limits, self._written_off):
                self._refuse.append((slot, error))
                continue
            if decided := self._place(slot, head=head):
                return decided
            head = False
        return self._plan(expire=None if self._loading else _expired(self._slots, self._now))

    def _plan(
        self,
        *,
        start: Slot | None = None,
        evict: Slot | None = None,
        expire: Slot | None = None,
        measure: bool = False,
        wake_at: float | None = None,
    ) -> Plan:
        drain = None if measure else tuple(slot for slot in self._drain if slot is not evict)
        return Plan(
            start, self._free or 0, evict, expire, drain, tuple(self._refuse), measure, wake_at
        )

    def _place(self, slot: Slot, *, head: bool) -> Plan | None:
        """Find room for `slot`. None: it has its share of the room, look at the next."""
        need, room = Room(slot.claim, 1), self._room
        if self._free is not None and slot.spec.memory is not None:
            room = Room(min(room.memory, self._free), room.seats)
        coming = self._later - self._room
        victims = self._victims(slot, need, room + coming, head=head)
        if victims is None and self._held_by_others(slot, need, coming, head=head):
            return None
        if victims is None:
            return self._plan(wake_at=_next_settled(self._spared, self._limits, self._now))
        if not self._loading and not victims and need.within(room):
            return self._plan(measure=True) if self._free is None else self._plan(start=slot)
        self._drain += [
            victim
            for victim in victims
            if victim.state is State.DRAINING or not (victim.idle or self._loading)
        ]
        evict = next((victim for victim in victims if victim.idle), None)
        if evict is not None and not self._loading:
            return self._plan(evict=evict)
        self._spared = [slot for slot in self._spared if slot not in victims]
        self._later = self._later + _total(victims) - need
        return None

    def _held_by_others(self, slot: Slot, need: Room, coming: Room, *, head: bool) -> bool:
        """Whether only memory that is none of ours is missing: who needs less may go."""
        if self._free is None:
            return False
        return self._victims(slot, need, self._room + coming, head=head) is not None

    def _victims(self, slot: Slot, need: Room, room: Room, *, head: bool) -> list[Slot] | None:
        """Whom to end so that `need` fits into `room`; None where all would not do."""
        chosen: list[Slot] = []
        for victim in self._candidates(slot, head=head):
            if need.within(room):
                break
            chosen.append(victim)
            room += Room(victim.held, 1)
        if not need.within(room):
            return None
        for victim in tuple(chosen):  # a large one that was added last may do alone
            if need.within(room - Room(victim.held, 1)):
                chosen.remove(victim)
                room -= Room(victim.held, 1)
        return chosen

    def _candidates(self, slot: Slot, *, head: bool) -> list[Slot]:
        """Those who may be ended for `slot`, in the order in which they would be."""
        draining = sorted((v for v in self._spared if v.state is State.DRAINING), key=_turn)
        ready = retirable(self._spared, self._limits, self._now)
        order = [v for v in draining if v.idle] + [v for v in ready if v.idle]
        if head:
            order += [v for v in draining if not v.idle]
            order += [v for v in ready if not v.idle and not _serves_older(v, slot)]
        return order


def retirable(slots: Iterable[Slot], limits: Limits, now: float) -> list[Slot]:
    """Engines that may be told to leave, whose turn is first first; some may be busy."""
    return sorted(
        (
            slot
            for slot in slots
            if slot.state is State.READY
            and not slot.spec.pinned
            and now >= slot.settled_at(limits.min_residency)
        ),
        key=_turn,
    )


def unfit(
    slot: Slot, slots: Collection[Slot], limits: Limits, written_off: int
) -> RouterError | None:
    """Why an engine of this size can't start, however long it waits; None where it can."""
    if slot.claim > limits.budget:
        return rejections.too_large(slot.claim, limits.budget)
    if slot.claim > limits.budget - written_off:
        return rejections.memory_missing()
    pinned = _total(other for other in slots if other.spec.pinned)
    fits = Room(slot.claim, 1).within(_whole(limits, written_off) - pinned)
    return None if fits else rejections.no_room()


def _whole(limits: Limits, written_off: int) -> Room:
    return Room(limits.budget - written_off, limits.max_loaded or sys.maxsize)


def _total(slots: Iterable[Slot]) -> Room:
    return sum((Room(slot.held, 1) for slot in slots if slot.state.claims), Room(0, 0))


def _line(slots: Iterable[Slot], now: float) -> list[Slot]:
    waiting = (s for s in slots if s.state is State.FETCHED and s.queue and now >= s.retry_at)
    return sorted(waiting, key=lambda slot: slot.oldest)


def _turn(victim: Slot) -> tuple[bool, float]:
    """The least recently used goes first; before it, what its caller gave up itself."""
    return not victim.yielded_by_quota, victim.last_used


def _serves_older(victim: Slot, slot: Slot) -> bool:
    return bool(victim.queue) and victim.oldest < slot.oldest


def _next_settled(spared: Iterable[Slot], limits: Limits, now: float) -> float | None:
    ready = (s.settled_at(limits.min_residency) for s in spared if s.state is State.READY)
    return min((at for at in ready if at > now), default=None)


def _expired(slots: Iterable[Slot], now: float) -> Slot | None:
    for slot in slots:
        expires = expires_at(slot)
        if expires is not None and now >= expires:
            return slot
    return None


def expires_at(slot: Slot) -> float | None:
    """When an idle engine has been idle too long; None where it never will be."""
    if slot.state is not State.READY or not slot.idle or slot.spec.pinned:
        return None
    if slot.yielded_by_quota:
        return slot.last_used
    return None if slot.spec.idle_ttl is None else slot.last_used + slot.spec.idle_ttl
