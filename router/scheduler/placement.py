"""Where engines may be: which devices of the machine, and how much room these have.

An engine spans one device or several that follow each other, `--base-gpu-id` and those after
it, and takes as many bytes of each. Where the devices divide evenly, an engine of n begins at a
multiple of n: so they split into groups, and neighbors are often linked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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

    def copy(self) -> Room:
        return Room(self.memory.copy(), self.engines)

    def give_back(self, slots: Iterable[Slot]) -> None:
        """Count what these hold as free. An engine that sleeps is not loaded."""
        for slot in slots:
            self.engines += slot.loaded
            for device in slot.devices:
                self.memory[device] += slot.held

    def hold(self, slots: Iterable[Slot]) -> None:
        """Count it as taken."""
        for slot in slots:
            self.engines -= slot.loaded
            for device in slot.devices:
                self.memory[device] -= slot.held

    def add(self, other: Room) -> None:
        self.engines += other.engines
        for device, size in enumerate(other.memory):
            self.memory[device] += size

    def change(self, devices: Iterable[int], memory: int, engines: int = 0) -> None:
        """Count so many bytes more as free, on each of these devices."""
        self.engines += engines
        for device in devices:
            self.memory[device] += memory

    def fits(self, claim: int, devices: Devices) -> bool:
        """Whether one more engine fits, which takes `claim` bytes of each of these devices."""
        for device in devices:
            if claim > self.memory[device]:
                return False
        return self.engines >= 1

    def fits_any(self, claim: int, places: Iterable[Devices]) -> bool:
        return any(self.fits(claim, devices) for devices in places)

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
    claim = slot.claim
    at_gate = slot.standby.devices if slot.standby else None

    def order(one: Devices) -> tuple[object, ...]:
        waits = moves(one) or not now.fits(claim, one)
        return waits, one != at_gate, later.left(one), one

    if fitting := [one for one in places if later.fits(claim, one)]:
        return min(fitting, key=order), []
    chosen: list[Slot] = []
    for victim in candidates:
        chosen.append(victim)
        later.give_back((victim,))
        if fitting := [one for one in places if later.fits(claim, one)]:
            devices = min(fitting, key=order)
            return devices, _needed(claim, devices, chosen, later)
    return None


def _needed(claim: int, devices: Devices, chosen: list[Slot], room: Room) -> list[Slot]:
    """The engines without which the claim does not fit, of those that `room` is without."""
    needed: list[Slot] = []
    for victim in chosen:  # a large engine, added last, may be enough by itself
        room.hold((victim,))
        if not room.fits(claim, devices):
            room.give_back((victim,))
            needed.append(victim)
    return needed
