"""Tracks the room on each device while a plan assigns it to the models in line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from router.scheduler.lifecycle import State
from router.scheduler.placement import Devices, Room
from router.scheduler.state import Slot
from router.scheduler.view import View


class Ledger:
    """The room of each device: free, being freed, and reserved for earlier models."""

    def __init__(self, view: View) -> None:
        self._view, index = view, view.index
        self._loading = index.loading
        self._available = view.available
        # The memory that stopping engines and those falling asleep will free, minus what is
        # reserved for earlier models. It can be negative.
        self._being_freed = Room([0] * view.limits.devices, 0)
        for state in (State.STOPPING, State.FALLING_ASLEEP):
            self._being_freed.give_back(index.in_state(state).values())
        self._closed: set[int] = set()
        self._promised: dict[int, float] = {}  # by device: the time from which it is promised

    @property
    def moves_everywhere(self) -> bool:
        return len(self._loading) == self._view.limits.devices

    def moves(self, devices: Devices) -> bool:
        """Whether an engine is taking or freeing memory on these devices."""
        return not self._loading.isdisjoint(devices)

    def open_to(self, slot: Slot) -> Sequence[Devices]:
        """The placements for the engine that avoid closed and promised devices."""
        places = self._view.places(slot)
        if self._promised:
            # A start is worthwhile if the engine can stay for as long as the start takes.
            until = self._view.now + 2 * self._view.pace.return_time(slot)
            soon = {one for one, at in self._promised.items() if at < until}
            places = tuple(one for one in places if soon.isdisjoint(one))
        if not self._closed:
            return places
        return [one for one in places if self._closed.isdisjoint(one)]

    def promise(self, devices: Devices, at: float) -> None:
        """Promise these devices to one model from `at` on.

        It needs all of them at once. An engine that starts on one of them and can't leave by
        then would block them all.
        """
        for device in devices:
            self._promised[device] = min(at, self._promised.get(device, at))

    def close(self, places: Iterable[Devices]) -> bool:
        """Reserve these devices for a model that can't have them yet. Returns whether all
        devices are closed."""
        self._closed.update(chain.from_iterable(places))
        return len(self._closed) == self._view.limits.devices

    def room_for(self, slot: Slot, *, measured: bool) -> Room:
        """The free room, including what the model already holds while asleep or at its gate.

        `measured`: use no more than was measured free, if the model's size is known.
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
        """The room after all stopping engines are gone, minus the reservations."""
        later = now.copy()
        later.add(self._being_freed)
        return later

    def count_as_loaded(self, slot: Slot) -> None:
        """Let no later model start that may not be loaded beside `slot`."""
        self._being_freed.loaded_groups.change(slot.spec.group, 1)

    def reserve(self, slot: Slot, devices: Devices, victims: Iterable[Slot]) -> None:
        """Reserve the room on these devices for `slot`, for when the victims are gone."""
        own = Room([0] * self._view.limits.devices, 0)
        self._add_own(slot, own)
        self._being_freed.give_back(victims)
        self._being_freed.change(devices, -slot.claim, engines=-1)
        self.count_as_loaded(slot)
        for device in devices:
            self._being_freed.change((device,), own.memory[device])
