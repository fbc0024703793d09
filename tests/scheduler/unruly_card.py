"""A device with unexpected memory: the property tests' own `Card`."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.models import MemoryPlan
from router.scheduler.actions import Allotment
from router.simulation.hardware import Model


@dataclass(frozen=True, slots=True)
class Truth:
    """How far one model is from its plan, as factors."""

    weights: float = 1.0
    overhead: float = 1.0


@dataclass(slots=True)
class UnrulyCard:
    """Plans are wrong, memory comes back late, and free memory is in pieces.

    An engine sizes its cache like SGLang: within its share, after it has seen its weights. It
    does not start if the weights and the smallest cache do not fit, or if it finds too little
    memory in one piece. Half of its overhead comes with the first answer, without another check
    for room. A declared size is kept, as the operator has promised.
    """

    size: int
    declared: bool
    truths: dict[str, Truth]
    slow: float  # seconds from the end of a process until its memory is free
    pieces: float  # the share of the free memory that no engine can use
    overcommitted: int = 0  # bytes, at worst
    held: dict[int, int] = field(default_factory=dict)
    _later: dict[int, int] = field(default_factory=dict)  # for the first answer
    _awake: dict[int, int] = field(default_factory=dict)
    _returning: list[tuple[float, int]] = field(default_factory=list)

    def free(self, now: float) -> int:
        self._returning = [(at, size) for at, size in self._returning if at > now]
        returning = sum(size for _, size in self._returning)
        return max(0, self.size - sum(self.held.values()) - returning)

    def load(self, generation: int, model: Model, allotment: Allotment, now: float) -> bool:
        needs = self._needs(model, allotment)
        if needs is None or sum(needs) > self.free(now) * (1 - self.pieces):
            return False
        self.held[generation], self._later[generation] = needs
        return True

    def _needs(self, model: Model, allotment: Allotment) -> tuple[int, int] | None:
        """The memory it takes before it is ready, and with its first answer."""
        truth, plan = self.truths[model.name], model.plan
        weights = int(plan.weights * truth.weights)
        overhead = int(plan.overhead * truth.overhead)
        pool = self._pool(plan, allotment, weights, overhead)
        if pool < plan.context * plan.token // 2:
            return None
        return weights + pool + overhead - overhead // 2, overhead // 2

    def _pool(self, plan: MemoryPlan, allotment: Allotment, weights: int, overhead: int) -> int:
        planned = overhead if self.declared or allotment.tokens is None else plan.overhead
        most = allotment.claim - weights - planned
        return most if allotment.tokens is None else min(most, allotment.tokens * plan.token)

    def taken(self, generation: int) -> int | None:
        return self.held[generation]

    def work(self, generation: int) -> None:
        self.held[generation] += self._later.pop(generation, 0)
        self._check()

    def sleep(self, generation: int, left: int) -> None:
        self._awake[generation], self.held[generation] = self.held[generation], left

    def wake(self, generation: int) -> None:
        self.held[generation] = self._awake.pop(generation)
        self._check()

    def _check(self) -> None:
        self.overcommitted = max(self.overcommitted, sum(self.held.values()) - self.size)

    def end(self, generation: int, now: float) -> int:
        size = self.held.pop(generation, 0)
        if size and self.slow:
            self._returning.append((now + self.slow, size))
        return sum(late for at, late in self._returning if at > now)
