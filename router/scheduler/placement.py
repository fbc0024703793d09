"""Where engines may be: which devices of the machine, and how much room these have.

An engine spans one device or several that follow each other, `--base-gpu-id` and those after
it, and takes as many bytes of each. Where the devices divide evenly, an engine of n begins at a
multiple of n: so they split into groups, and neighbors are often linked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from router.scheduler.company import Company
from router.scheduler.state import Slot

Devices = tuple[int, ...]  # the indices of those that one engine spans


def placements(devices: int, span: int, base: int | None = None) -> tuple[Devices, ...]:
    """The choices for an engine of `span` devices, of so many in all; none: it has no place.

    `base`: the first of them, where the operator has chosen it.
    """
    if base is not None:
        bases: Iterable[int] = (base,)
    else:
        bases = range(0, devices, 1 if devices % span else span)
    return tuple(tuple(range(at, at + span)) for at in bases if at + span <= devices)


@dataclass(slots=True)
class Room:
    """What is left for engines: bytes of each device, and how many more may be loaded."""

    memory: list[int]
    engines: int
    company: Company = field(default_factory=Company)  # of those that are loaded

    def copy(self) -> Room:
        return Room(self.memory.copy(), self.engines, self.company.copy())

    def for_any(self) -> Room:
        """The same, as if there were no groups. The memory stays this room's."""
        return replace(self, company=Company())

    def give_back(self, slots: Iterable[Slot]) -> None:
        """Count what these hold as free. An engine that sleeps is not loaded."""
        for slot in slots:
            self.engines += slot.loaded
            self.company.change(slot.spec.group, -slot.loaded)
            for device in slot.devices:
                self.memory[device] += slot.held

    def hold(self, slots: Iterable[Slot]) -> None:
        """Count it as taken."""
        for slot in slots:
            self.engines -= slot.loaded
            self.company.change(slot.spec.group, slot.loaded)
            for device in slot.devices:
                self.memory[device] -= slot.held

    def add(self, other: Room) -> None:
        self.engines += other.engines
        self.company.add(other.company)
        for device, size in enumerate(other.memory):
            self.memory[device] += size

    def change(self, devices: Iterable[int], memory: int, engines: int = 0) -> None:
        """Count so many bytes more as free, on each of these devices."""
        self.engines += engines
        for device in devices:
            self.memory[device] += memory

    def fits(self, slot: Slot, devices: Devices) -> bool:
        """Whether the engine of `slot` fits on these devices, and may be loaded too."""
        for device in devices:
            if slot.claim > self.memory[device]:
                return False
        return self.engines >= 1 and self.company.bar(slot.spec.group) is None

    def fits_any(self, slot: Slot, places: Iterable[Devices]) -> bool:
        return any(self.fits(slot, devices) for devices in places)

    def least(self, devices: Devices) -> int:
        """Bytes of the fullest of these devices."""
        return min(self.memory[device] for device in devices)

    def left(self, devices: Devices) -> int:
        """Bytes of all these devices together."""
        return sum(self.memory[device] for device in devices)


def of_each(first: int, others: Sequence[int], devices: Devices) -> dict[int, int]:
    """By device, what a report says of its devices: of the first, and of the others in order.
    A report that names only the first means the same for all."""
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
    """Devices for the engine of `slot`, and the engines to stop; None: stopping all candidates
    is not enough.

    Without a victim: where least is left over, first where memory is free already. Else where
    the engines are whose loss is least: candidates come in this order.

    `later`: once all that were told to have left; it is used up here. `moves`: whether memory
    of these devices changes hands now.
    """
    at_gate = slot.standby.devices if slot.standby else None

    def order(one: Devices) -> tuple[object, ...]:
        waits = moves(one) or not now.fits(slot, one)
        return waits, one != at_gate, later.left(one), one

    if fitting := [one for one in places if later.fits(slot, one)]:
        return min(fitting, key=order), []
    if later.company.bar(slot.spec.group) is not None:
        candidates = later.company.first_to_leave(slot.spec.group, candidates)
    chosen: list[Slot] = []
    for victim in candidates:
        chosen.append(victim)
        later.give_back((victim,))
        if fitting := [one for one in places if later.fits(slot, one)]:
            devices = min(fitting, key=order)
            return devices, _needed(slot, devices, chosen, later)
    return None


def _needed(slot: Slot, devices: Devices, chosen: list[Slot], room: Room) -> list[Slot]:
    """The engines beside which `slot` does not fit, of those that `room` is without."""
    needed: list[Slot] = []
    for victim in chosen:  # a large engine, added last, may be enough by itself
        room.hold((victim,))
        if not room.fits(slot, devices):
            room.give_back((victim,))
            needed.append(victim)
    return needed
