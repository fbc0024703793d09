"""Placements of engines on devices, and the room there.

An engine spans one device, or several consecutive ones from `--base-gpu-id` on, and takes the
same number of bytes on each. If the number of devices is a multiple of n, an engine of n
devices begins at a multiple of n. That divides them into groups, and neighbors often have a
fast link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from router.scheduler.group_rules import LoadedGroups
from router.scheduler.state import Slot

Devices = tuple[int, ...]  # indices of the devices that one engine spans


def placements(devices: int, span: int, base: int | None = None) -> tuple[Devices, ...]:
    """The possible placements of an engine of `span` devices, out of `devices`; () if it fits
    nowhere.

    `base`: the first device, if the operator has chosen it.
    """
    if base is not None:
        bases: Iterable[int] = (base,)
    else:
        bases = range(0, devices, 1 if devices % span else span)
    return tuple(tuple(range(at, at + span)) for at in bases if at + span <= devices)


@dataclass(slots=True)
class Room:
    """The room for engines: bytes of each device, and how many more engines may be loaded."""

    memory: list[int]
    engines: int
    loaded_groups: LoadedGroups = field(default_factory=LoadedGroups)

    def copy(self) -> Room:
        return Room(self.memory.copy(), self.engines, self.loaded_groups.copy())

    def for_any(self) -> Room:
        """A copy without group rules. It shares the memory list with this room."""
        return replace(self, loaded_groups=LoadedGroups())

    def give_back(self, slots: Iterable[Slot]) -> None:
        """Count the resources of these engines as free. A sleeping engine is not loaded."""
        for slot in slots:
            self.engines += slot.loaded
            self.loaded_groups.change(slot.spec.group, -slot.loaded)
            for device in slot.devices:
                self.memory[device] += slot.held

    def hold(self, slots: Iterable[Slot]) -> None:
        """Count the resources of these engines as taken."""
        for slot in slots:
            self.engines -= slot.loaded
            self.loaded_groups.change(slot.spec.group, slot.loaded)
            for device in slot.devices:
                self.memory[device] -= slot.held

    def add(self, other: Room) -> None:
        self.engines += other.engines
        self.loaded_groups.add(other.loaded_groups)
        for device, size in enumerate(other.memory):
            self.memory[device] += size

    def change(self, devices: Iterable[int], memory: int, engines: int = 0) -> None:
        """Add free bytes on each of these devices."""
        self.engines += engines
        for device in devices:
            self.memory[device] += memory

    def fits(self, slot: Slot, devices: Devices) -> bool:
        """Whether the engine of `slot` fits on these devices and may be loaded."""
        for device in devices:
            if slot.claim > self.memory[device]:
                return False
        return self.engines >= 1 and self.loaded_groups.bar(slot.spec.group) is None

    def fits_any(self, slot: Slot, places: Iterable[Devices]) -> bool:
        return any(self.fits(slot, devices) for devices in places)

    def least(self, devices: Devices) -> int:
        """Free bytes of the fullest of these devices."""
        return min(self.memory[device] for device in devices)

    def left(self, devices: Devices) -> int:
        """Free bytes of all these devices together."""
        return sum(self.memory[device] for device in devices)


def of_each(first: int, others: Sequence[int], devices: Devices) -> dict[int, int]:
    """Map each device to its value in a report: `first` for the first, then `others` in order.
    If there are no others, the first value holds for all devices."""
    told = (first, *others) if others else (first,) * len(devices)
    return dict(zip(devices, told, strict=False))


def choose(
    slot: Slot,
    places: Sequence[Devices],
    now: Room,
    later: Room,
    *,
    moves: Callable[[Devices], bool],
    candidates: Iterable[Slot],
) -> tuple[Devices, list[Slot]] | None:
    """Choose devices for the engine of `slot`, and the engines to stop for it. Returns None if
    stopping all candidates is not enough.

    If no victim is needed, it prefers devices with free memory, and then the tightest fit.
    Otherwise it takes victims in the order of the candidates, which are sorted by loss.

    `later`: the room after all stopping engines are gone; this function consumes it. `moves`:
    whether memory of these devices is being taken or freed now.
    """
    at_gate = slot.standby.devices if slot.standby else None

    def order(one: Devices) -> tuple[object, ...]:
        waits = moves(one) or not now.fits(slot, one)
        return waits, one != at_gate, later.left(one), one

    if fitting := [one for one in places if later.fits(slot, one)]:
        return min(fitting, key=order), []
    if later.loaded_groups.bar(slot.spec.group) is not None:
        candidates = later.loaded_groups.first_to_leave(slot.spec.group, candidates)
    chosen: list[Slot] = []
    for victim in candidates:
        chosen.append(victim)
        later.give_back((victim,))
        if fitting := [one for one in places if later.fits(slot, one)]:
            devices = min(fitting, key=order)
            return devices, _needed(slot, devices, chosen, later)
    return None


def _needed(slot: Slot, devices: Devices, chosen: list[Slot], room: Room) -> list[Slot]:
    """The engines in `chosen` that must stop for `slot`. `room` is without all of them."""
    needed: list[Slot] = []
    for victim in chosen:  # a large engine that was added last may be enough by itself
        room.hold((victim,))
        if not room.fits(slot, devices):
            room.give_back((victim,))
            needed.append(victim)
    return needed
