"""All slots, and the state that the parts of a pass share.

`Scheduler` builds a pass from `Dispatch`, `Updates` and `Decisions`. Only these change slots.
They register each change here first, so that the indices are current when a plan reads them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from router.models import EngineKey, EngineSpec
from router.scheduler import actions
from router.scheduler.engine_life import EngineLife
from router.scheduler.history import History
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.moving_slot import Shared
from router.scheduler.placement import Devices
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.view import View

SNAPSHOTS_REMEMBERED = 1024  # models on disk without an engine
FORGOTTEN_AT_ONCE = 64  # how many of these one pass considers


class SchedulerState:
    """All slots of one scheduler. `history` holds measurements of earlier runs."""

    def __init__(self, limits: Limits, history: History) -> None:
        self.limits = limits
        self.shutting_down = False
        self.shared = Shared(limits, itertools.count(1), history=history)
        self.slots: dict[EngineKey, EngineLife] = {}
        self.index = SlotIndex(limits)
        self.holders: dict[int, EngineLife] = {}  # by waiter, until its request leaves or fails
        self.changed: dict[EngineLife, None] = {}  # slots changed in this pass
        self.ending: set[int] = set()  # generations of prestarted processes that are ending
        self.lost = [0] * limits.devices  # missing bytes of each device

    @property
    def empty(self) -> bool:
        """Whether no process is left or starting, except one that can't be killed."""
        index = self.index
        alive = any(not slot.stuck for slot in index.engines)
        return not (alive or index.in_state(State.FETCHING) or self.ending)

    def view(self, now: float, free: Sequence[int] | None = None) -> View:
        shared = self.shared
        return View(
            self.index, self.limits, shared.history, shared.starts, now, self.lost, free
        )

    def change(self, slot: Slot) -> EngineLife:
        """Register a slot as changed in this pass, and return it."""
        life = self.slots[slot.key]
        self.changed[life] = None
        return life

    def file(self, now: float) -> None:
        """Bring the indices up to date, and drop slots that nothing needs."""
        for slot in self.changed:
            self.index.file(slot, now)
            if slot.state is State.COLD and slot.forgettable(now):
                self._forget(slot)
        self.changed.clear()
        on_disk = self.index.in_state(State.FETCHED)
        if len(on_disk) > SNAPSHOTS_REMEMBERED:
            oldest = itertools.islice(on_disk.values(), FORGOTTEN_AT_ONCE)
            for one in [one for one in oldest if one.forgettable(now)]:
                self._forget(one)

    def _forget(self, slot: Slot) -> None:
        del self.slots[slot.key]
        self.index.forget(slot)

    def configure(self, slot: EngineLife, spec: EngineSpec, now: float) -> None:
        """Apply settings and compute the claim for its roomiest placement. If an engine runs,
        the settings are for the next one."""
        if slot.state.claims:
            slot.expect(spec)
            return
        places = self.view(now).places(slot)
        device = max(map(self.usable, places), default=self.limits.budget)
        slot.configure(spec, device, now)

    def usable(self, devices: Devices) -> int:
        """Bytes of each of these devices that engines may use."""
        return self.limits.budget - max(self.lost[device] for device in devices)

    def shut_down(self) -> None:
        """Admit, plan and start nothing from now on."""
        self.shutting_down = True

    def note(self, done: Iterable[actions.Action]) -> None:
        """Update the records for the actions of this pass."""
        for action in done:
            if isinstance(action, actions.Fail):
                self.holders.pop(action.waiter, None)
            elif isinstance(action, actions.Stop):
                self._note_ending(action)

    def _note_ending(self, action: actions.Stop) -> None:
        """Record a process that ends before its engine started: no slot shows it."""
        slot = self.slots.get(action.key)
        if slot is None or slot.generation != action.generation:
            self.ending.add(action.generation)
