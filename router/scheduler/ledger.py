"""What each device has left in one pass, as the models in line take their shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices, Room
from router.scheduler.state import Slot
from router.scheduler.view import View


class Ledger:
    """The room of each device: free, being freed, and kept for the models before."""

    def __init__(self, view: View) -> None:
        self._view, roster = view, view.roster
        self._loading = roster.loading
        self._available = view.available
        # By all engines that were told to stop or to sleep so far, less what is kept for models
        # before: it may be less than nothing.
        self._being_freed = Room([0] * view.limits.devices, 0)
        for state in (State.STOPPING, State.FALLING_ASLEEP):
            self._being_freed.give_back(roster.in_state(state).values())
        self._closed: set[int] = set()
        self._promised: dict[int, float] = {}  # by device: from when on

    @property
    def moves_everywhere(self) -> bool:
        return len(self._loading) == self._view.limits.devices

    def moves(self, devices: Devices) -> bool:
        """Whether memory of these changes hands now."""
        return not self._loading.isdisjoint(devices)

    def open_to(self, slot: Slot) -> Sequence[Devices]:
        """Where the engine may be, but for devices that are closed."""
        places = self._view.places(slot)
        if self._promised:
            # It is worth its start if it stays for as long as that takes.
            until = self._view.now + 2 * self._view.pace.return_time(slot)
            soon = {one for one, at in self._promised.items() if at < until}
            places = tuple(one for one in places if soon.isdisjoint(one))
        if not self._closed:
            return places
        return [one for one in places if self._closed.isdisjoint(one)]

    def promise(self, devices: Devices, at: float) -> None:
        """These are for one model from then on. It needs them all at once, so whatever starts
        on one of them, and can't leave by then, would keep it from all of them."""
        for device in devices:
            self._promised[device] = min(at, self._promised.get(device, at))

    def close(self, places: Iterable[Devices]) -> bool:
        """Keep these devices for a model that can't have them yet. True: all are closed."""
        self._closed.update(chain.from_iterable(places))
        return len(self._closed) == self._view.limits.devices

    def room_for(self, slot: Slot, *, measured: bool) -> Room:
        """What is free now, with what the model holds already: asleep, or at the gate.

        `measured`: no more than was measured free, where the model's size is known.
        """
        room, free = self._available.copy(), self._view.free
        if measured and free is not None and slot.tells_size:
            for device, size in enumerate(free):
                if device not in self._loading:
                    room.memory[device] = min(room.memory[device], size)
        self._add_own(slot, room)
        return room

    def _add_own(self, slot: Slot, room: Room) -> None:
        if slot.held:
            room.change(slot.devices, slot.held)
        if slot.standby:
            room.change(slot.standby.devices, self._view.limits.standby_claim)

    def later(self, now: Room) -> Room:
        """The same once all engines that were told to have left, without what is kept."""
        later = now.copy()
        later.add(self._being_freed)
        return later

    def await_company(self, slot: Slot) -> None:
        """Have no model start that may not be loaded beside `slot`, which comes before."""
        self._being_freed.company.change(slot.spec.group, 1)

    def reserve(self, slot: Slot, devices: Devices, victims: Iterable[Slot]) -> None:
        """Keep these devices' room for `slot`, once the victims have left."""
        own = Room([0] * self._view.limits.devices, 0)
        self._add_own(slot, own)
        self._being_freed.give_back(victims)
        self._being_freed.change(devices, -slot.claim, engines=-1)
        self.await_company(slot)
        for device in devices:
            self._being_freed.change((device,), own.memory[device])
