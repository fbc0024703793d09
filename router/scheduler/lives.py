"""The slots, and what a pass keeps of them.

`Scheduler` composes a pass of `Dispatch`, `Updates` and `Enactment`. These alone change slots,
and say so here first: the indices are brought up to date before a plan reads them.
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
from router.scheduler.roster import Roster
from router.scheduler.state import Slot
from router.scheduler.view import View

SNAPSHOTS_REMEMBERED = 1024  # models on disk that have no engine
FORGOTTEN_AT_ONCE = 64  # of these: as many are looked at in one pass


class Lives:
    """All slots of one scheduler. `history`: of earlier runs of the worker."""

    def __init__(self, limits: Limits, history: History) -> None:
        self.limits = limits
        self.shutting_down = False
        self.shared = Shared(limits, itertools.count(1), history=history)
        self.slots: dict[EngineKey, EngineLife] = {}
        self.roster = Roster(limits)
        self.holders: dict[int, EngineLife] = {}  # by waiter, until it leaves or fails
        self.changed: dict[EngineLife, None] = {}  # in this pass
        self.ending: set[int] = set()  # the generations of processes that never started
        self.lost = [0] * limits.devices  # bytes that are missing, of each device

    @property
    def empty(self) -> bool:
        """No process is left or being started, except one that can't be killed."""
        roster = self.roster
        alive = any(not slot.stuck for slot in roster.engines)
        return not (alive or roster.in_state(State.FETCHING) or self.ending)

    def view(self, now: float, free: Sequence[int] | None = None) -> View:
        shared = self.shared
        return View(
            self.roster, self.limits, shared.history, shared.starts, now, self.lost, free
        )

    def change(self, slot: Slot) -> EngineLife:
        """The slot, to be changed in this pass."""
        life = self.slots[slot.key]
        self.changed[life] = None
        return life

    def file(self, now: float) -> None:
        """Bring the indices up to date, and drop what nothing needs."""
        for slot in self.changed:
            self.roster.file(slot, now)
            if slot.state is State.COLD and slot.forgettable(now):
                self._forget(slot)
        self.changed.clear()
        on_disk = self.roster.in_state(State.FETCHED)
        if len(on_disk) > SNAPSHOTS_REMEMBERED:
            oldest = itertools.islice(on_disk.values(), FORGOTTEN_AT_ONCE)
            for one in [one for one in oldest if one.forgettable(now)]:
                self._forget(one)

    def _forget(self, slot: Slot) -> None:
        del self.slots[slot.key]
        self.roster.forget(slot)

    def configure(self, slot: EngineLife, spec: EngineSpec, now: float) -> None:
        """Take on settings and size, for the roomiest of its places; or for the next engine."""
        if slot.state.claims:
            slot.expect(spec)
            return
        places = self.view(now).places(slot)
        device = max(map(self.usable, places), default=self.limits.budget)
        slot.configure(spec, device, now)

    def usable(self, devices: Devices) -> int:
        """Bytes that engines may use of each of these devices."""
        return self.limits.budget - max(self.lost[device] for device in devices)

    def shut_down(self) -> None:
        """Nothing is admitted, planned or started any more."""
        self.shutting_down = True

    def note(self, done: Iterable[actions.Action]) -> None:
        """Keep account of what a pass has decided."""
        for action in done:
            if isinstance(action, actions.Fail):
                self.holders.pop(action.waiter, None)
            elif isinstance(action, actions.Stop):
                self._note_ending(action)

    def _note_ending(self, action: actions.Stop) -> None:
        """An engine is STOPPING until it is gone. Of a process that never started, no slot
        says that it is still there."""
        slot = self.slots.get(action.key)
        if slot is None or slot.generation != action.generation:
            self.ending.add(action.generation)
