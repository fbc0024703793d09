"""Decides which engine starts, stops or drains next, and which requests can't be served.

The planner reads slots and returns a `Plan`; it changes nothing. Models that are on disk and
have waiting requests are considered in the order of their oldest request, so that all
requests for one model are served together; models of callers with many start seconds
come last. Only one engine at a time takes or frees memory, so a plan holds at most one start or
one stop.

Memory that is freed for one model is reserved for it: models behind it get only what it
can't use. Idle engines are evicted first; of these, first those of the caller that holds the
most, and of its engines the least recently used. If all idle engines together are not enough,
busy engines drain for the first model in the order, and for no other. An engine does not
drain for a request whose turn comes after that of one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import inf

from router.errors import RouterError
from router.scheduler import rejections
from router.scheduler.fairness import Holdings, StartSeconds
from router.scheduler.lifecycle import State
from router.scheduler.state import Limits, Slot


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now."""

    start: Slot | None = None
    free: int = 0  # bytes measured free for this start
    evict: Slot | None = None
    expire: Slot | None = None
    # Engines that are to drain; all others that drain are revived. None: free memory is not
    # known in this pass, so neither happens.
    drain: tuple[Slot, ...] | None = ()
    reject: tuple[tuple[Slot, RouterError], ...] = ()
    measure: bool = False  # an engine could start: measure, then plan again
    wake_at: float = inf  # when time alone will change this plan


@dataclass(frozen=True, slots=True)
class Capacity:
    memory: int  # bytes
    engines: int

    def __add__(self, other: Capacity) -> Capacity:
        return Capacity(self.memory + other.memory, self.engines + other.engines)

    def __sub__(self, other: Capacity) -> Capacity:
        return Capacity(self.memory - other.memory, self.engines - other.engines)

    def within(self, other: Capacity) -> bool:
        return self.memory <= other.memory and self.engines <= other.engines


def plan(
    slots: Collection[Slot],
    limits: Limits,
    written_off: int,
    free: int | None,
    now: float,
    *,
    starts: StartSeconds,
) -> Plan:
    """Decide one pass.

    `written_off`: bytes of the budget that are lost. `free`: bytes measured in this pass;
    None where they were not measured.
    """
    return _Planner(slots, limits, written_off, free, now, starts=starts).plan()


class _Planner:
    """The capacity and the engines that are left, as each model takes its share."""

    def __init__(
        self,
        slots: Collection[Slot],
        limits: Limits,
        written_off: int,
        free: int | None,
        now: float,
        *,
        starts: StartSeconds,
    ) -> None:
        self._slots, self._limits, self._free, self._now = slots, limits, free, now
        self._written_off, self._starts = written_off, starts
        self._loading = any(slot.state.loading for slot in slots)
        self._available = _whole(limits, written_off) - _held(slots)
        # Once all engines that were told to stop so far are gone.
        self._available_later = self._available + _held(
            slot for slot in slots if slot.state is State.STOPPING
        )
        self._evictable = [slot for slot in slots if slot.running and not slot.spec.pinned]
        self._holdings = Holdings(slots, now)
        self._drain: list[Slot] = []
        self._reject: list[tuple[Slot, RouterError]] = []

    def plan(self) -> Plan:
        first = True
        room = unpinned(self._slots, self._limits, self._written_off)
        for slot in self._in_order():
            if error := unfit(slot, room, self._limits, self._written_off):
                self._reject.append((slot, error))
                continue
            if decided := self._place(slot, first=first):
                return decided
            first = False
        return self._plan(expire=None if self._loading else _expired(self._slots, self._now))

    def _in_order(self) -> list[Slot]:
        return sorted(waiting_models(self._slots, self._now), key=self._turn)

    def _turn(self, slot: Slot) -> tuple[float, int]:
        """Models of callers that have had their share of starts come last; then by age."""
        return self._starts.overdraft(slot.queue.callers, self._now), slot.oldest.age

    def _goes_first(self, victim: Slot, slot: Slot) -> bool:
        """Whether a request for `victim` goes before those for `slot`, so that it would only
        start again."""
        return bool(victim.queue) and self._turn(victim) < self._turn(slot)

    def _plan(
        self,
        *,
        start: Slot | None = None,
        evict: Slot | None = None,
        expire: Slot | None = None,
        measure: bool = False,
        wake_at: float = inf,
    ) -> Plan:
        drain = None if measure else tuple(slot for slot in self._drain if slot is not evict)
        return Plan(
            start, self._free or 0, evict, expire, drain, tuple(self._reject), measure, wake_at
        )

    def _place(self, slot: Slot, *, first: bool) -> Plan | None:
        """Find memory for `slot`. None: its share is reserved, so look at the next model."""
        need, available = Capacity(slot.claim, 1), self._available
        if self._free is not None and slot.spec.memory is not None:
            available = Capacity(min(available.memory, self._free), available.engines)
        being_freed = self._available_later - self._available
        victims = self._victims(slot, need, available + being_freed, first=first)
        if victims is None:
            if self._lacks_foreign_memory(slot, need, being_freed, first=first):
                return None
            return self._plan(wake_at=self._next_evictable())
        if not self._loading and not victims and need.within(available):
            return self._plan(measure=True) if self._free is None else self._plan(start=slot)
        self._drain += [
            victim
            for victim in victims
            if victim.state is State.DRAINING or not (victim.idle or self._loading)
        ]
        evict = next((victim for victim in victims if victim.idle), None)
        if evict is not None and not self._loading:
            return self._plan(evict=evict)
        self._evictable = [slot for slot in self._evictable if slot not in victims]
        self._available_later = self._available_later + _held(victims) - need
        return None

    def _lacks_foreign_memory(
        self, slot: Slot, need: Capacity, being_freed: Capacity, *, first: bool
    ) -> bool:
        """Whether `slot` would fit, if other processes did not hold memory of the device.

        Nothing here can free that memory, so smaller models need not wait behind this one.
        """
        if self._free is None:
            return False
        return self._victims(slot, need, self._available + being_freed, first=first) is not None

    def _victims(
        self, slot: Slot, need: Capacity, available: Capacity, *, first: bool
    ) -> list[Slot] | None:
        """The engines to stop so that `need` fits; None where stopping all is not enough."""
        chosen: list[Slot] = []
        for victim in self._candidates(slot, first=first):
            if need.within(available):
                break
            chosen.append(victim)
            available += Capacity(victim.held, 1)
        if not need.within(available):
            return None
        for victim in tuple(chosen):  # a large engine, added last, may be enough by itself
            if need.within(available - Capacity(victim.held, 1)):
                chosen.remove(victim)
                available -= Capacity(victim.held, 1)
        return chosen

    def _candidates(self, slot: Slot, *, first: bool) -> list[Slot]:
        """The engines that may stop for `slot`, in the order in which they would."""
        draining = [victim for victim in self._evictable if victim.state is State.DRAINING]
        draining.sort(key=self._holdings.eviction_order)
        ready = evictable(self._evictable, self._limits, self._now, self._holdings)
        ready = [victim for victim in ready if self._holdings.may_take(slot, victim)]
        order = [v for v in draining if v.idle] + [v for v in ready if v.idle]
        if first:
            order += [v for v in draining if not v.idle]
            order += [v for v in ready if not v.idle and not self._goes_first(v, slot)]
        return order

    def _next_evictable(self) -> float:
        """When the next engine will have been up for MIN_RESIDENCY."""
        times = (
            slot.evictable_at(self._limits.min_residency)
            for slot in self._evictable
            if slot.state is State.READY
        )
        return min((at for at in times if at > self._now), default=inf)


def evictable(
    slots: Iterable[Slot], limits: Limits, now: float, holdings: Holdings
) -> list[Slot]:
    """Engines that may be evicted, in that order, as soon as they are idle."""
    ready = (
        slot
        for slot in slots
        if slot.state is State.READY
        and not slot.spec.pinned
        and now >= slot.evictable_at(limits.min_residency)
    )
    return sorted(ready, key=holdings.eviction_order)


def unpinned(slots: Iterable[Slot], limits: Limits, written_off: int) -> Capacity:
    """What pinned engines leave to all others together."""
    pinned = _held(other for other in slots if other.spec.pinned)
    return _whole(limits, written_off) - pinned


def unfit(slot: Slot, room: Capacity, limits: Limits, written_off: int) -> RouterError | None:
    """Why an engine of this size can't start, however long it waits; None where it can.

    `room`: what pinned engines leave.
    """
    if slot.claim > limits.budget:
        return rejections.too_large(slot.claim, limits.budget)
    if slot.claim > limits.budget - written_off:
        return rejections.memory_missing()
    return None if Capacity(slot.claim, 1).within(room) else rejections.no_room()


def _whole(limits: Limits, written_off: int) -> Capacity:
    return Capacity(limits.budget - written_off, limits.max_loaded or sys.maxsize)


def _held(slots: Iterable[Slot]) -> Capacity:
    total = Capacity(0, 0)
    for slot in slots:
        if slot.state.claims:
            total += Capacity(slot.held, 1)
    return total


def waiting_models(slots: Iterable[Slot], now: float) -> list[Slot]:
    """Models on disk that a request waits for, and that may start now."""
    return [s for s in slots if s.state is State.FETCHED and s.queue and now >= s.retry_at]


def _expired(slots: Iterable[Slot], now: float) -> Slot | None:
    return next((slot for slot in slots if now >= slot.expires_at), None)
