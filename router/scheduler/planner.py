"""Decides which engine starts, stops, sleeps or drains next, and what can't be served.

The planner reads slots and returns a `Plan`; it changes nothing. Models that are on disk and
have waiting requests are considered in the order of their turns, so that all requests for one
model are served together; models of callers with many start seconds come last. Only one engine
at a time takes or frees memory, so a plan holds at most one start or one stop.

Memory that is freed for one model is reserved for it: models behind it get only what it
can't use. The engines that make room are those whose loss costs least; of these, first those of
the caller that holds the most. If idle engines are not enough, busy ones drain for the first
model in the order, and for no other. `pace` says when. An engine does not drain for a request
whose turn comes after that of one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from math import inf

from router.errors import RouterError
from router.scheduler.lifecycle import State
from router.scheduler.state import Slot
from router.scheduler.view import Capacity, View, held_by
from router.scheduler.worth import worth_asleep

# Models that may be placed in one pass. Those behind them get their chance when one of these
# has its engine; each pass is short, whatever waits.
WINDOW = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now."""

    start: Slot | None = None  # or wake
    free: int = 0  # bytes measured free for this start
    evict: Slot | None = None
    sleep: bool = False  # it need not stop: there is room for its weights
    expire: Slot | None = None
    # Engines that are to drain; all others that drain are revived. None: free memory is not
    # known in this pass, so neither happens.
    drain: tuple[Slot, ...] | None = ()
    reject: tuple[tuple[Slot, RouterError], ...] = ()
    next: tuple[Slot, ...] = ()  # the models that wait for room, in order
    # Which engines leave for these, now or at their time. Not there: not enough can.
    rooms: Mapping[Slot, tuple[Slot, ...]] = field(default_factory=dict)
    measure: bool = False  # an engine could start: measure, then plan again
    wake_at: float = inf  # when time alone will change this plan


def plan(view: View) -> Plan:
    """Decide one pass."""
    return _Planner(view).plan()


class _Planner:
    """The capacity and the engines that are left, as each model takes its share."""

    def __init__(self, view: View) -> None:
        self._view, roster = view, view.roster
        self._loading = roster.loading
        standby = view.limits.standby_claim * len(roster.standby)
        self._available = view.whole - Capacity(roster.held + standby, roster.loaded)
        # Once all engines that were told to stop or to sleep so far have done so.
        stopping = roster.in_state(State.STOPPING).values()
        asleep_soon = roster.in_state(State.FALLING_ASLEEP).values()
        self._available_later = self._available + held_by(chain(stopping, asleep_soon))
        self._spoken_for: set[Slot] = set()  # engines that make room for a model before
        self._drain: list[Slot] = []
        self._reject: list[tuple[Slot, RouterError]] = []
        self._next: list[Slot] = []
        self._rooms: dict[Slot, tuple[Slot, ...]] = {}
        self._wake_at = inf

    def plan(self) -> Plan:
        for slot in self._view.in_turn():
            if error := self._view.unfit(slot):
                self._reject.append((slot, error))
                continue
            if decided := self._place(slot, first=not self._next):
                return self._with_next(decided, slot)
            self._next.append(slot)
            if len(self._next) == WINDOW:
                break
        expire = None if self._loading else _expired(self._view)
        return replace(self._plan(expire=expire), next=tuple(self._next))

    def _with_next(self, decided: Plan, slot: Slot) -> Plan:
        return replace(decided, next=(*self._next, slot))

    def _plan(
        self,
        *,
        start: Slot | None = None,
        evict: Slot | None = None,
        expire: Slot | None = None,
        sleep: bool = False,
        measure: bool = False,
    ) -> Plan:
        return Plan(
            start=start,
            free=self._view.free or 0,
            evict=evict,
            sleep=sleep,
            expire=expire,
            drain=None if measure else tuple(one for one in self._drain if one is not evict),
            reject=tuple(self._reject),
            rooms=self._rooms,
            measure=measure,
            wake_at=self._wake_at,
        )

    def _place(self, slot: Slot, *, first: bool) -> Plan | None:
        """Find memory for `slot`. None: it has to wait, so look at the next model."""
        free, own = self._view.free, self._own(slot)
        need, available = Capacity(slot.claim, 1) - own, self._available
        if free is not None and slot.tells_size:
            available = Capacity(min(available.memory, free), available.engines)
        being_freed = self._available_later - self._available
        victims = self._victims(slot, need, available + being_freed, first=first)
        if victims is None:
            if self._lacks_foreign_memory(slot, need, being_freed, first=first):
                return None
            self._wake_at = min(self._wake_at, self._view.holdings.changes_at)
            return self._plan()
        self._rooms[slot] = tuple(victims)
        if not self._loading and not victims and need.within(available):
            return self._plan(measure=True) if free is None else self._plan(start=slot)
        return self._make_room(slot, need, victims)

    def _make_room(self, slot: Slot, need: Capacity, victims: list[Slot]) -> Plan | None:
        view = self._view
        leaves_at = max((view.pace.leaves_at(one, slot) for one in victims), default=-inf)
        if leaves_at > view.now:  # until then, others may use what is free
            self._wake_at = min(self._wake_at, leaves_at)
            return None
        self._drain += [
            victim
            for victim in victims
            if victim.state is State.DRAINING or not (victim.idle or self._loading)
        ]
        evict = next((victim for victim in victims if victim.idle), None)
        if evict is not None and not self._loading:
            return self._evict(evict)
        self._spoken_for.update(victims)
        self._available_later = self._available_later + held_by(victims) - need
        return None

    def _evict(self, victim: Slot) -> Plan:
        """Let an engine sleep, if the host's memory has room for it or gets some from engines
        that are worth less; else stop it."""
        if victim.state is State.ASLEEP or not victim.sleeps:
            return self._plan(evict=victim)
        view = self._view
        asleep = view.roster.in_state(State.ASLEEP).values()
        room = view.limits.sleep_memory - sum(one.weights for one in asleep)
        if victim.weights <= room:
            return self._plan(evict=victim, sleep=True)
        least = partial(worth_asleep, pace=view.pace, eviction=view.limits.eviction)
        cheaper = [one for one in asleep if not one.queue and least(one) < least(victim)]
        if victim.weights <= room + sum(one.weights for one in cheaper):
            return self._plan(evict=min(cheaper, key=least))
        return self._plan(evict=victim)

    def _own(self, slot: Slot) -> Capacity:
        """What the model holds already: asleep, or at the gate."""
        standby = self._view.limits.standby_claim if slot.standby else 0
        return Capacity(slot.held + standby, 0)

    def _lacks_foreign_memory(
        self, slot: Slot, need: Capacity, being_freed: Capacity, *, first: bool
    ) -> bool:
        """Whether `slot` would fit, if other processes did not hold memory of the device.

        Nothing here can free that memory, so smaller models need not wait behind this one.
        """
        if self._view.free is None:
            return False
        return self._victims(slot, need, self._available + being_freed, first=first) is not None

    def _victims(
        self, slot: Slot, need: Capacity, available: Capacity, *, first: bool
    ) -> list[Slot] | None:
        """The engines to stop so that `need` fits; None where stopping all is not enough."""
        if need.within(available):
            return []
        chosen: list[Slot] = []
        for victim in self._candidates(slot, first=first):
            chosen.append(victim)
            available += held_by((victim,))
            if need.within(available):
                break
        else:
            return None
        for victim in tuple(chosen):  # a large engine, added last, may be enough by itself
            if need.within(available - held_by((victim,))):
                chosen.remove(victim)
                available -= held_by((victim,))
        return chosen

    def _candidates(self, slot: Slot, *, first: bool) -> Iterator[Slot]:
        """The engines that may stop for `slot`, in the order in which they would."""
        holdings = self._view.holdings
        for victim in chain(self._unwanted, self._wanted() if first else ()):
            if victim is slot or victim in self._spoken_for:
                continue
            if victim.state is State.DRAINING or (
                holdings.may_take(slot, victim)
                and not (_is_wanted(victim) and self._goes_first(victim, slot))
            ):
                yield victim

    @cached_property
    def _unwanted(self) -> list[Slot]:
        """The engines that could go at once, those that drain first."""
        return list(self._in_order(self._evictable[False]))

    def _wanted(self) -> Iterator[Slot]:
        """The engines that answer requests, or are to wake for some."""
        return self._in_order(self._evictable[True])

    def _in_order(self, slots: list[Slot]) -> Iterator[Slot]:
        yield from self._view.by_loss(one for one in slots if one.state is State.DRAINING)
        yield from self._view.by_loss(one for one in slots if one.state is not State.DRAINING)

    @cached_property
    def _evictable(self) -> dict[bool, list[Slot]]:
        """By whether they are wanted."""
        found: dict[bool, list[Slot]] = {False: [], True: []}
        for state in (State.READY, State.DRAINING, State.ASLEEP):
            for slot in self._view.roster.in_state(state).values():
                if not slot.spec.pinned:
                    found[_is_wanted(slot)].append(slot)
        return found

    def _goes_first(self, victim: Slot, slot: Slot) -> bool:
        """Whether a request for `victim` goes before those for `slot`, so that it would only
        start again."""
        return bool(victim.queue) and self._view.turn(victim) < self._view.turn(slot)


def _is_wanted(victim: Slot) -> bool:
    """Whether it answers requests, or sleeps and is to wake for some."""
    return not victim.idle or (victim.state is State.ASLEEP and bool(victim.queue))


def _expired(view: View) -> Slot | None:
    up = chain.from_iterable(
        view.roster.in_state(state).values() for state in (State.READY, State.ASLEEP)
    )
    return next((slot for slot in up if view.now >= slot.expires_at), None)
