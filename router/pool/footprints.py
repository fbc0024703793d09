"""What each engine holds of the device's memory, as far as that can be measured."""

from __future__ import annotations

from dataclasses import dataclass

from router.pool.interfaces import MemoryGauge, SleepError
from router.scheduler.actions import Allotment

# What an engine may take on top of what it had when it became ready (kernels that are
# loaded late), before its memory counts as missing. A chosen figure, not a measured one.
SLACK = 1 << 30  # bytes


@dataclass(frozen=True, slots=True)
class Before:
    """A measurement, to be compared with a later one."""

    free: int  # bytes
    given_back: int  # how often an engine had given memory back until then


class Footprints:
    """Bytes, by generation. Only the gauge's own figures are measured: the driver tells what
    is free, not whose the rest is."""

    def __init__(self, gauge: MemoryGauge) -> None:
        self._gauge = gauge
        self._baseline = gauge.free()  # without any engine
        self._held: dict[int, int] = {}
        self._awake: dict[int, int] = {}  # of those that sleep: what they held before
        self._given_back = 0

    def now(self) -> Before:
        return Before(self._gauge.free(), self._given_back)

    @property
    def given_back(self) -> int:
        return self._given_back

    def note_given_back(self) -> None:
        """An engine ended: what is free now is no measure of what another has taken."""
        self._given_back += 1

    def started(
        self, generation: int, allotment: Allotment, free: int | None, given_back: int
    ) -> None:
        """An engine is ready. `free`: now; `given_back`: as it was when the start began."""
        if free is None or given_back != self._given_back:
            held = allotment.claim  # another engine freed memory during the start
        else:
            held = max(0, min(allotment.free - free, allotment.claim))
        self._held[generation] = held

    def ended(self, generation: int) -> None:
        self.note_given_back()
        self._held.pop(generation, None)
        self._awake.pop(generation, None)

    async def asleep(self, generation: int, before: Before) -> int:
        """Wait until what the engine gave back is free. Returns the bytes that it still holds.

        Raises `SleepError` if it has given nothing back, as without SGLang's memory saver.
        """
        held = self._held[generation]
        others = sum(self._held.values()) - held
        now = await self._gauge.settled(self._baseline - others)
        free = before.free
        if before.given_back != self._given_back:  # not all that came free was this engine's
            free = max(0, self._baseline - others - held)
        left = min(held, max(0, held - (now - free)))
        if held and left == held:
            raise SleepError("it says that it sleeps, but has given no memory back")
        self.note_given_back()
        self._held[generation], self._awake[generation] = left, held
        return left

    def waking(self, generation: int) -> None:
        """From now on the engine takes what it held before."""
        self._held[generation] = self._awake.pop(generation)

    async def missing(self) -> int:
        """Bytes that should be free, by what the engines hold, and are not."""
        expected = self._baseline - sum(self._held.values())
        target = max(0, expected - SLACK * (len(self._held) + 1))
        return max(0, target - await self._gauge.recovered(target))
