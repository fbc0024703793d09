"""Chooses the processes to prestart, up to their gates.

* First, models that wait for room, in their order: when the memory is free, they only have to
  load their weights.
* Then models whose weights are still downloading but whose small files are on disk. A process
  needs no more before it loads weights.
* With the rest of `STANDBY_ENGINES`, models that ran recently, first those whose next start
  would save the most waiting time.

While an engine of an exclusive group is loaded, no process of another group is prestarted,
because it would hold some device memory. A full group has processes only for waiting models.
"""

from __future__ import annotations

from math import inf

from router.scheduler.group_rules import LoadedGroups, stays
from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices
from router.scheduler.planner import Plan
from router.scheduler.state import Slot
from router.scheduler.view import View

# Seconds. A model gets no spare process if its last request is older, or if it has expired.
WANTED_WITHIN = 1800.0


def prestarts(view: View, decided: Plan) -> tuple[list[Slot], list[Slot]]:
    """Return the models whose processes to start, and those whose processes to end for them."""
    places = view.limits.standby
    if not places:
        return [], []
    stay = LoadedGroups.of(one for one in view.index.engines if stays(one))
    wanted = [one for one in decided.next if _may(one) and one is not decided.start]
    wanted = [*wanted, *_coming(view)]
    wanted = [one for one in wanted if stay.excluded(one.spec.group) is None][:places]
    spares = [one for one in _spares(view, wanted) if stay.bar(one.spec.group) is None]
    spares.sort(key=lambda one: _use(view, one), reverse=True)
    wanted += spares[: places - len(wanted)]
    new = [one for one in wanted if one.standby is None]
    surplus = [one for one in view.index.standby.values() if one not in wanted]
    surplus.sort(key=lambda one: (stay.excluded(one.spec.group) is None, _use(view, one)))
    excess = len(view.index.standby) + len(new) - places
    excluded = sum(stay.excluded(one.spec.group) is not None for one in surplus)
    return new, surplus[: max(0, excess, excluded)]


def likely_place(view: View, slot: Slot) -> Devices | None:
    """The devices where an unplanned engine will probably start: its last ones, or those with
    the most free memory. None: it fits nowhere."""
    places = view.places(slot)
    if len(places) <= 1:
        return next(iter(places), None)
    if slot.generation and slot.devices in places:
        return slot.devices
    return max(places, key=view.available.least)


def _may(slot: Slot) -> bool:
    return slot.state is State.FETCHED and not slot.no_prestart


def _coming(view: View) -> list[Slot]:
    """Models that are being downloaded for a request and whose claims are known."""
    found = [
        slot
        for slot in view.index.described.values()
        if slot.queue and slot.tells_size and not (slot.no_prestart or slot.failures)
    ]
    return sorted(found, key=view.turn)


def _spares(view: View, wanted: list[Slot]) -> list[Slot]:
    return [
        slot
        for slot in view.index.former.values()
        if _may(slot)
        and slot not in wanted
        and not (slot.failures or slot.unloads)
        and slot.demand.interval(view.now) < min(WANTED_WITHIN, slot.spec.idle_ttl or inf)
    ]


def _use(view: View, slot: Slot) -> float:
    """The expected benefit of a prestarted process: seconds of waiting saved, per second."""
    return slot.weights / max(slot.demand.interval(view.now), 1e-3)
