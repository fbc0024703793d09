"""Which processes are started ahead, up to their gates.

First those of the models that wait for room, in their order: by the time the memory is free,
only the weights are left to be loaded. Then those of models whose weights are on their way,
once their small files are there: no process needs more before it loads. What is left of
`STANDBY_ENGINES` goes to models that had an engine lately, those first whose return would cost
most and is most likely.

Beside an engine of an exclusive group, no process of another group stands: it has some memory
of the device. A group that is full has processes only for models that wait.
"""

from __future__ import annotations

from math import inf

from router.scheduler.company import Company, stays
from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices
from router.scheduler.planner import Plan
from router.scheduler.state import Slot
from router.scheduler.view import View

# Seconds: a model that was not wanted for longer gets no spare process, nor does one that has
# expired.
WANTED_WITHIN = 1800.0


def prestarts(view: View, decided: Plan) -> tuple[list[Slot], list[Slot]]:
    """The models whose processes start now, and those whose processes end to make room."""
    places = view.limits.standby
    if not places:
        return [], []
    stay = Company.of(one for one in view.roster.engines if stays(one))
    wanted = [one for one in decided.next if _may(one) and one is not decided.start]
    wanted = [*wanted, *_coming(view)]
    wanted = [one for one in wanted if stay.excluded(one.spec.group) is None][:places]
    spares = [one for one in _spares(view, wanted) if stay.bar(one.spec.group) is None]
    spares.sort(key=lambda one: _use(view, one), reverse=True)
    wanted += spares[: places - len(wanted)]
    new = [one for one in wanted if one.standby is None]
    surplus = [one for one in view.roster.standby.values() if one not in wanted]
    surplus.sort(key=lambda one: (stay.excluded(one.spec.group) is None, _use(view, one)))
    excess = len(view.roster.standby) + len(new) - places
    excluded = sum(stay.excluded(one.spec.group) is not None for one in surplus)
    return new, surplus[: max(0, excess, excluded)]


def likely_place(view: View, slot: Slot) -> Devices | None:
    """Where an engine that is not planned yet is likely to start: where it was last, or where
    most is left. None: nowhere."""
    places = view.places(slot)
    if len(places) <= 1:
        return next(iter(places), None)
    if slot.generation and slot.devices in places:
        return slot.devices
    return max(places, key=view.available.least)


def _may(slot: Slot) -> bool:
    return slot.state is State.FETCHED and not slot.no_prestart


def _coming(view: View) -> list[Slot]:
    """Models that are being downloaded for some request, and whose claims are known."""
    found = [
        slot
        for slot in view.roster.described.values()
        if slot.queue and slot.tells_size and not (slot.no_prestart or slot.failures)
    ]
    return sorted(found, key=view.turn)


def _spares(view: View, wanted: list[Slot]) -> list[Slot]:
    return [
        slot
        for slot in view.roster.former.values()
        if _may(slot)
        and slot not in wanted
        and not (slot.failures or slot.unloads)
        and slot.demand.interval(view.now) < min(WANTED_WITHIN, slot.spec.idle_ttl or inf)
    ]


def _use(view: View, slot: Slot) -> float:
    """How much a process at the gate is expected to save, in seconds of waiting a second."""
    return slot.weights / max(slot.demand.interval(view.now), 1e-3)
