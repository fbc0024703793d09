"""The memory of all devices: what is free, and what each engine holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from router.pool.footprints import Before, Footprints
from router.pool.interfaces import MemoryGauge
from router.scheduler.actions import Allotment

Free = Sequence[int]  # bytes of each device


class Devices:
    """Combines the gauges and the footprints of all devices.

    Methods with a generation apply to the devices that it spans. `free`: bytes of each device,
    measured just now; None if the measurement failed.
    """

    def __init__(self, gauges: Sequence[MemoryGauge]) -> None:
        self._gauges = tuple(gauges)
        self._footprints = [Footprints(gauge) for gauge in self._gauges]
        self._placed: dict[int, tuple[int, ...]] = {}  # by generation, until it is gone

    def free(self) -> tuple[int, ...]:
        """Measure the free bytes of each device. Raises any error of the driver."""
        return tuple(gauge.free() for gauge in self._gauges)

    def held(self) -> dict[int, int]:
        """The measured bytes of each engine, by generation: the maximum over its devices, and
        at most its claim."""
        found: dict[int, int] = {}
        for footprints in self._footprints:
            for generation, size in footprints.held().items():
                found[generation] = max(size, found.get(generation, 0))
        return found

    def of(self, generation: int) -> tuple[int, ...]:
        return self._placed.get(generation, (0,))

    def shares(self, generation: int, devices: Sequence[int]) -> bool:
        """Whether the engine spans one of these devices."""
        return not set(self.of(generation)).isdisjoint(devices)

    def _each(self, generation: int) -> Iterator[tuple[int, Footprints]]:
        for device in self.of(generation):
            yield device, self._footprints[device]

    def note_given_back(self, generation: int) -> None:
        for _, footprints in self._each(generation):
            footprints.note_given_back()

    def prestarted(self, generation: int, allotment: Allotment, free: Free | None) -> None:
        self._placed[generation] = allotment.devices
        for device, footprints in self._each(generation):
            footprints.prestarted(generation, _on(device, free))

    def stands(self, generation: int, free: Free | None) -> None:
        for device, footprints in self._each(generation):
            footprints.stands(generation, _on(device, free))

    def loads(self, generation: int, allotment: Allotment, free: Free | None) -> None:
        self._placed[generation] = allotment.devices
        for device, footprints in self._each(generation):
            own = allotment.free if free is None else free[device]
            footprints.loads(generation, replace(allotment, free=own))

    def started(self, generation: int, free: Free | None) -> int | None:
        """The bytes that the engine has taken: the maximum over its devices; None: unknown."""
        taken = [
            footprints.started(generation, _on(device, free))
            for device, footprints in self._each(generation)
        ]
        told = [size for size in taken if size is not None]
        return max(told) if len(told) == len(taken) else None

    def now(self, generation: int) -> list[Before]:
        return [footprints.now() for _, footprints in self._each(generation)]

    async def asleep(self, generation: int, before: Sequence[Before]) -> int:
        """The bytes that the engine still holds, at most on any device. Raises `SleepError`."""
        left = [
            await footprints.asleep(generation, then)
            for (_, footprints), then in zip(self._each(generation), before, strict=True)
        ]
        return max(left)

    def waking(self, generation: int) -> None:
        for _, footprints in self._each(generation):
            footprints.waking(generation)

    def woke(self, generation: int) -> None:
        for _, footprints in self._each(generation):
            footprints.woke(generation)

    def ended(self, generation: int) -> None:
        for _, footprints in self._each(generation):
            footprints.ended(generation)
        self._placed.pop(generation, None)

    async def missing(self, devices: Sequence[int]) -> tuple[int, ...]:
        """For each of these devices, the bytes that should be free but are not."""
        async with asyncio.TaskGroup() as group:
            each = [group.create_task(self._footprints[one].missing()) for one in devices]
        return tuple(one.result() for one in each)


def _on(device: int, free: Free | None) -> int | None:
    return None if free is None else free[device]
