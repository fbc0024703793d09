"""The memory that each engine holds on one device, as far as that can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.pool.interfaces import MemoryGauge, SleepError
from router.scheduler.actions import Allotment

# Memory that an engine may take after it became ready (for kernels that are loaded late) before
# it counts as missing. This value was chosen, not measured.
SLACK = 1 << 30  # bytes


@dataclass(frozen=True, slots=True)
class Before:
    """A measurement to compare with a later one."""

    free: int  # bytes
    given_back: int  # how often engines had released memory by then


@dataclass(frozen=True, slots=True)
class _Load:
    """What was known when an engine began to load."""

    allotment: Allotment
    given_back: int
    standing: frozenset[int]  # the processes at their gates
    context: int  # bytes that it already held, if it was at its gate
    changes: int | None  # how often memory had changed hands; None: can't be measured


class Footprints:
    """The bytes that engines hold, by generation.

    The driver says how much is free, but not which process holds the rest. So an engine's
    memory is the difference of two measurements, if nothing else changed in between.

    A process at its gate holds a driver context, which is not part of any footprint. Its size
    is about the same for all processes. It is measured when a process reaches its gate while
    nothing else changes. Before the first such measurement it counts as 0, and `SLACK` covers
    it.
    """

    def __init__(self, gauge: MemoryGauge) -> None:
        self._gauge = gauge
        self._baseline = gauge.free()  # without any engine
        self._held: dict[int, int] = {}
        self._awake: dict[int, int] = {}  # by sleeping engine: what it held while awake
        self._loads: dict[int, _Load] = {}
        self._given_back = 0
        self._changes = 0  # how often something began to take memory or released it
        self._waiting: set[int] = set()  # prestarted processes that are not ready
        self._standing: set[int] = set()  # those that have reached their gates
        self._rising: set[int] = set()  # engines that load or wake
        self._alone: dict[int, int] = {}  # free before it started, while nothing else changes
        self._context = 0  # bytes that a process at its gate holds

    def held(self) -> Mapping[int, int]:
        """Bytes that each engine holds, by generation: measured, and at most its claim."""
        return self._held

    def now(self) -> Before:
        return Before(self._gauge.free(), self._given_back)

    def note_given_back(self) -> None:
        """Note that an engine ended. Free memory no longer shows what another one has taken."""
        self._given_back += 1
        self._disturb()

    def prestarted(self, generation: int, free: int | None) -> None:
        """Note the start of a process that will wait at its gate. `free`: measured now."""
        self._disturb()
        if free is not None and not self._rising and self._waiting == self._standing:
            self._alone[generation] = free
        self._waiting.add(generation)

    def stands(self, generation: int, free: int | None) -> None:
        """Note that a process reached its gate. `free`: measured now."""
        self._changes += 1
        self._standing.add(generation)
        before = self._alone.pop(generation, None)
        if before is not None and free is not None:
            self._context = max(0, min(before - free, SLACK))

    def loads(self, generation: int, allotment: Allotment) -> None:
        """Note that an engine takes memory from now on."""
        self._disturb()
        own = self._context if generation in self._standing else 0
        known = own > 0 or generation not in self._standing
        quiet = not self._rising and self._waiting == self._standing
        changes = self._changes if known and quiet and self._gauge.engines_only else None
        self._rising.add(generation)
        standing = frozenset(self._standing)
        self._loads[generation] = _Load(allotment, self._given_back, standing, own, changes)

    def started(self, generation: int, free: int | None) -> int | None:
        """Note that an engine is ready. `free`: measured now.

        Returns the bytes it has taken; None if something else may have changed the free memory.
        """
        load = self._loads.pop(generation)
        claim = load.allotment.claim
        if free is None or load.given_back != self._given_back:
            held = claim  # another engine released memory during the start
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
        """Wait until the memory that the engine released is free. Returns the bytes it still
        holds.

        Raises `SleepError` if it has released nothing, as without SGLang's memory saver.
        """
        held = self._held[generation]
        others = self._in_use - held
        now = await self._gauge.settled(self._baseline - others)
        free = before.free
        if before.given_back != self._given_back:  # another engine released memory, too
            free = max(0, self._baseline - others - held)
        left = min(held, max(0, held - (now - free)))
        if held and left == held:
            raise SleepError("it says that it sleeps, but has given no memory back")
        self.note_given_back()
        self._held[generation], self._awake[generation] = left, held
        return left

    def waking(self, generation: int) -> None:
        """Note that the engine takes its former memory again."""
        self._disturb()
        self._rising.add(generation)
        self._held[generation] = self._awake.pop(generation)

    def woke(self, generation: int) -> None:
        """Note that the engine has taken it."""
        self._rising.discard(generation)

    async def missing(self) -> int:
        """Bytes that should be free, judging by what the engines hold, but are not."""
        expected = self._baseline - self._in_use
        target = max(0, expected - SLACK * (len(self._held) + len(self._waiting) + 1))
        return max(0, target - await self._gauge.recovered(target))

    @property
    def _in_use(self) -> int:
        return sum(self._held.values()) + self._context * len(self._standing)

    def _disturb(self) -> None:
        """Note a change of the free memory that invalidates the undisturbed measurements."""
        self._changes += 1
        self._alone.clear()

    def _forget(self, generation: int) -> None:
        self._loads.pop(generation, None)
        for generations in (self._waiting, self._standing, self._rising):
            generations.discard(generation)
