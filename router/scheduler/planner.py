"""Decides which engine starts, stops, sleeps or drains next, and what can't be served.

The planner reads slots and returns a `Plan`; it changes nothing. It considers the models that
are on disk and have waiting requests, in the order of their turns, so that all requests for one
model are served together. Models of callers with many start seconds come last. One engine at a
time takes or frees memory of a device. A plan holds at most one start or stop; with several
devices, `Scheduler` asks for the next plan right away.

Memory that is freed for one model is reserved for it, and later models get only what it can't
use. If one model needs several devices at once, they are promised to it: other engines start
there only if they can be gone by then. While a model waits because of a group rule, no later
model starts that may not be loaded beside it.

Engines with the least loss make room first, and among these the engines of the caller that
holds the most. If idle engines are not enough, busy ones drain, but only for the first model in
line. `pace` decides when. An engine does not drain for a request whose turn is later than that
of one of its own requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from math import inf

from router.errors import RouterError
from router.scheduler.candidates import Candidates
from router.scheduler.eviction_cost import eviction_cost_asleep
from router.scheduler.ledger import Ledger
from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices, Room, choose
from router.scheduler.state import Slot
from router.scheduler.view import View

# The number of models that one pass may place. Later models are considered when one of these
# has its engine, so each pass stays short.
WINDOW = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions of one pass."""

    start: Slot | None = None  # or wake
    free: int = 0  # measured bytes for this start, on the fullest of its devices
    devices: Devices = ()  # for this start
    evict: Slot | None = None
    sleep: bool = False  # let `evict` sleep: its weights fit in host memory
    expire: Slot | None = None
    # Engines to drain; all other draining engines are revived. None: change nothing, because
    # free memory is unknown in this pass or something else comes first.
    drain: tuple[Slot, ...] | None = ()
    reject: tuple[tuple[Slot, RouterError], ...] = ()
    next: tuple[Slot, ...] = ()  # the models that wait for room, in order
    # The engines that leave for each of these models, now or later. A model is missing if not
    # enough engines can leave.
    rooms: Mapping[Slot, tuple[Slot, ...]] = field(default_factory=dict)
    places: Mapping[Slot, Devices] = field(default_factory=dict)  # planned devices by model
    # The names of the groups whose rules keep these models from being loaded now.
    groups: Mapping[Slot, str] = field(default_factory=dict)
    measure: bool = False  # an engine could start: measure, then plan again
    wake_at: float = inf  # when this plan changes without any event


def plan(view: View) -> Plan:
    """Make the plan for one pass."""
    return _Planner(view).plan()


class _Planner:
    """Builds one plan. Tracks the remaining room and engines as each model takes its share."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._ledger = Ledger(view)
        self._candidates = Candidates(view)
        self._drain: list[Slot] = []
        self._reject: list[tuple[Slot, RouterError]] = []
        self._next: list[Slot] = []
        self._rooms: dict[Slot, tuple[Slot, ...]] = {}
        self._places: dict[Slot, Devices] = {}
        self._groups: dict[Slot, str] = {}
        self._wake_at = inf

    def plan(self) -> Plan:
        if unloaded := self._unloaded():
            return replace(self._plan(expire=unloaded), drain=None)
        for slot in self._view.in_turn():
            if error := self._view.unfit(slot):
                self._reject.append((slot, error))
                continue
            if decided := self._place(slot, first=not self._next):
                return self._with_next(decided, slot)
            self._next.append(slot)
            if len(self._next) == WINDOW:
                break
        expire = self._expired()
        return replace(self._plan(expire=expire), next=tuple(self._next))

    def _with_next(self, decided: Plan, slot: Slot) -> Plan:
        return replace(decided, next=(*self._next, slot))

    def _plan(
        self,
        *,
        start: Slot | None = None,
        free: int = 0,
        devices: Devices = (),
        evict: Slot | None = None,
        expire: Slot | None = None,
        sleep: bool = False,
        measure: bool = False,
    ) -> Plan:
        return Plan(
            start=start,
            free=free,
            devices=devices,
            evict=evict,
            sleep=sleep,
            expire=expire,
            drain=None if measure else tuple(one for one in self._drain if one is not evict),
            reject=tuple(self._reject),
            rooms=self._rooms,
            places=self._places,
            groups=self._groups,
            measure=measure,
            wake_at=self._wake_at,
        )

    def _place(self, slot: Slot, *, first: bool) -> Plan | None:
        """Find memory for `slot`. None: it must wait, so try the next model."""
        view = self._view
        places = self._ledger.open_to(slot)
        if not places:
            return None
        now = self._ledger.room_for(slot, measured=True)
        found = self._choose(slot, places, now, first=first)
        if found is None:
            return self._let_wait(slot, places, first=first)
        devices, victims = found
        self._rooms[slot], self._places[slot] = tuple(victims), devices
        if not (victims or self._ledger.moves(devices)) and now.fits(slot, devices):
            if view.free is None:
                return self._plan(measure=True)
            free = min(view.free[device] for device in devices)
            return self._plan(start=slot, free=free, devices=devices)
        return self._make_room(slot, devices, victims)

    def _let_wait(self, slot: Slot, places: Sequence[Devices], *, first: bool) -> Plan | None:
        """Not enough engines can leave, so reserve what `slot` will need."""
        if self._lacks_foreign_memory(slot, places, first=first):
            return None
        self._wake_at = min(self._wake_at, self._view.holdings.changes_at)
        if self._waits_for_group(slot, places, first=first):
            self._ledger.count_as_loaded(slot)
            return None
        return self._plan() if self._ledger.close(places) else None

    def _make_room(self, slot: Slot, devices: Devices, victims: list[Slot]) -> Plan | None:
        view = self._view
        leaves_at = max((view.pace.leaves_at(one, slot) for one in victims), default=-inf)
        if leaves_at > view.now:  # until then, others may use the free memory
            self._wake_at = min(self._wake_at, leaves_at)
            if slot in self._groups:
                self._ledger.count_as_loaded(slot)
            if len(devices) > 1:
                self._ledger.promise(devices, leaves_at)
            return None
        self._drain += [
            victim
            for victim in victims
            if victim.state is State.DRAINING
            or not (victim.idle or self._ledger.moves(victim.devices))
        ]
        may_go = (one for one in victims if one.idle and not self._ledger.moves(one.devices))
        evict = next(may_go, None)
        if evict is not None:
            return self._evict(evict)
        self._candidates.speak_for(victims)
        self._ledger.reserve(slot, devices, victims)
        return None

    def _evict(self, victim: Slot) -> Plan:
        """Let an engine sleep if its weights fit in host memory, or if less valuable sleepers
        can end for it. Otherwise stop it."""
        if victim.state is State.ASLEEP or not victim.sleeps:
            return self._plan(evict=victim)
        view = self._view
        asleep = view.index.in_state(State.ASLEEP).values()
        # Engines on other devices may be falling asleep or waking at the same time.
        changing = map(view.index.in_state, (State.FALLING_ASLEEP, State.WAKING))
        held = chain(asleep, *(slots.values() for slots in changing))
        room = view.limits.sleep_memory - sum(one.weights for one in held)
        if victim.weights <= room:
            return self._plan(evict=victim, sleep=True)
        least = partial(eviction_cost_asleep, pace=view.pace, eviction=view.limits.eviction)
        cheaper = [
            one
            for one in asleep
            if not (one.queue or one.pinned or self._ledger.moves(one.devices))
            and least(one) < least(victim)
        ]
        if victim.weights <= room + sum(one.weights for one in cheaper):
            return self._plan(evict=min(cheaper, key=least))
        return self._plan(evict=victim)

    def _lacks_foreign_memory(
        self, slot: Slot, places: Sequence[Devices], *, first: bool
    ) -> bool:
        """Whether `slot` would fit if other processes did not hold memory of the device.

        Nothing here can free that memory, so smaller models need not wait behind this one.
        """
        if self._view.free is None:
            return False
        now = self._ledger.room_for(slot, measured=False)
        return self._choose(slot, places, now, first=first) is not None

    def _waits_for_group(self, slot: Slot, places: Sequence[Devices], *, first: bool) -> bool:
        """Whether `slot` waits only because a group rule forbids it beside an engine that can't
        leave yet. Until that engine leaves, other models may use the memory."""
        if slot not in self._groups:
            return False
        now = self._ledger.room_for(slot, measured=True)
        later, candidates = self._ledger.later(now), self._candidates.of(slot, first=first)
        found = self._chosen(slot, places, now.for_any(), later.for_any(), candidates)
        return found is not None

    def _choose(
        self, slot: Slot, places: Sequence[Devices], now: Room, *, first: bool
    ) -> tuple[Devices, list[Slot]] | None:
        later, candidates = self._ledger.later(now), self._candidates.of(slot, first=first)
        bar = later.loaded_groups.bar(slot.spec.group)
        found = self._chosen(slot, places, now, later, candidates)
        if bar is None:
            return found
        self._groups[slot] = bar.name
        if found is None:
            later = self._ledger.later(now)
            candidates = self._candidates.of(slot, first=first, barring=True)
            found = self._chosen(slot, places, now, later, candidates)
        return found

    def _chosen(
        self,
        slot: Slot,
        places: Sequence[Devices],
        now: Room,
        later: Room,
        candidates: Iterator[Slot],
    ) -> tuple[Devices, list[Slot]] | None:
        return choose(slot, places, now, later, moves=self._ledger.moves, candidates=candidates)

    def _unloaded(self) -> Slot | None:
        """An engine that the operator has unloaded and that can stop now. A sleeping engine
        stays if requests wait for it."""
        draining, asleep = map(self._view.index.in_state, (State.DRAINING, State.ASLEEP))
        may_go = chain(
            (one for one in draining.values() if one.idle),
            (one for one in asleep.values() if not one.queue),
        )
        told = (one for one in may_go if one.unloads)
        return next((one for one in told if not self._ledger.moves(one.devices)), None)

    def _expired(self) -> Slot | None:
        if self._ledger.moves_everywhere:
            return None
        states = map(self._view.index.in_state, (State.READY, State.ASLEEP))
        up = chain.from_iterable(slots.values() for slots in states)
        expired = (one for one in up if self._view.now >= one.expires_at)
        return next((one for one in expired if not self._ledger.moves(one.devices)), None)
