"""What each engine holds of the device's memory, as far as that can be measured."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class _Load:
    """What could be told when an engine began to load."""

    allotment: Allotment
    given_back: int
    standing: frozenset[int]  # the processes at their gates
    context: int  # bytes that it held already, because it was one of them
    changes: int | None  # how often memory had changed hands; None: it can't be measured


class Footprints:
    """Bytes, by generation. Only the gauge's own figures are measured: the driver tells what
    is free, not whose the rest is.

    A process at its gate holds a context of the driver's, which is no engine's footprint yet.
    About as much for each, it is measured when one comes to its gate while nothing else
    changes. Until that happened, it counts as nothing, which `SLACK` covers.
    """

    def __init__(self, gauge: MemoryGauge) -> None:
        self._gauge = gauge
        self._baseline = gauge.free()  # without any engine
        self._held: dict[int, int] = {}
        self._awake: dict[int, int] = {}  # of those that sleep: what they held before
        self._loads: dict[int, _Load] = {}
        self._given_back = 0
        self._changes = 0  # how often anything began to take memory, or gave it back
        self._waiting: set[int] = set()  # have a gate, and are not ready
        self._standing: set[int] = set()  # those that have come to it
        self._rising: set[int] = set()  # load or wake
        self._alone: dict[int, int] = {}  # what was free before, if nothing else has changed
        self._context = 0  # bytes that a process at its gate holds

    def held(self) -> Mapping[int, int]:
        """Bytes that each engine holds, by generation: measured, and at most its claim."""
        return self._held

    def now(self) -> Before:
        return Before(self._gauge.free(), self._given_back)

    def note_given_back(self) -> None:
        """An engine ended: what is free now is no measure of what another has taken."""
        self._given_back += 1
        self._disturb()

    def prestarted(self, generation: int, free: int | None) -> None:
        """A process starts that is to wait at its gate. `free`: now."""
        self._disturb()
        if free is not None and not self._rising and self._waiting == self._standing:
            self._alone[generation] = free
        self._waiting.add(generation)

    def stands(self, generation: int, free: int | None) -> None:
        """It has come to its gate. `free`: now."""
        self._changes += 1
        self._standing.add(generation)
        before = self._alone.pop(generation, None)
        if before is not None and free is not None:
            self._context = max(0, min(before - free, SLACK))

    def loads(self, generation: int, allotment: Allotment) -> None:
        """An engine takes memory from now on."""
        self._disturb()
        own = self._context if generation in self._standing else 0
        known = own > 0 or generation not in self._standing
        quiet = not self._rising and self._waiting == self._standing
        changes = self._changes if known and quiet and self._gauge.engines_only else None
        self._rising.add(generation)
        standing = frozenset(self._standing)
        self._loads[generation] = _Load(allotment, self._given_back, standing, own, changes)

    def started(self, generation: int, free: int | None) -> int | None:
        """An engine is ready. `free`: now. Returns the bytes that it has taken; None where
        anything else can have changed what is free meanwhile."""
        load = self._loads.pop(generation)
        claim = load.allotment.claim
        if free is None or load.given_back != self._given_back:
            held = claim  # another engine freed memory during the start
        else:
            came = self._context * len(self._standing - load.standing - {generation})
            held = max(0, min(load.allotment.free - free - came + load.context, claim))
        self._forget(generation)
        self._held[generation] = held
        if free is None or load.changes != self._changes:
            return None
        taken = load.allotment.free - free + load.context
        return taken if taken > 0 else None

    def ended(self, generation: int) -> None:
        self.note_given_back()
        self._forget(generation)
        self._held.pop(generation, None)
        self._awake.pop(generation, None)

    async def asleep(self, generation: int, before: Before) -> int:
        """Wait until what the engine gave back is free. Returns the bytes that it still holds.

        Raises `SleepError` if it has given nothing back, as without SGLang's memory saver.
        """
        held = self._held[generation]
        others = self._in_use - held
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
        self._disturb()
        self._rising.add(generation)
        self._held[generation] = self._awake.pop(generation)

    def woke(self, generation: int) -> None:
        """It has taken that."""
        self._rising.discard(generation)

    async def missing(self) -> int:
        """Bytes that should be free, by what the engines hold, and are not."""
        expected = self._baseline - self._in_use
        target = max(0, expected - SLACK * (len(self._held) + len(self._waiting) + 1))
        return max(0, target - await self._gauge.recovered(target))

    @property
    def _in_use(self) -> int:
        return sum(self._held.values()) + self._context * len(self._standing)

    def _disturb(self) -> None:
        """What is free changes by more than what was measured alone until now."""
        self._changes += 1
        self._alone.clear()

    def _forget(self, generation: int) -> None:
        self._loads.pop(generation, None)
        for generations in (self._waiting, self._standing, self._rising):
            generations.discard(generation)
