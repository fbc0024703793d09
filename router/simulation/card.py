"""The memory of a simulated device, as engines really use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from router.scheduler.actions import Allotment
from router.simulation.broken import must
from router.simulation.hardware import Model


class Card(Protocol):
    def free(self, now: float) -> int:
        """The free bytes that a measurement finds."""

    def load(self, generation: int, model: Model, allotment: Allotment, now: float) -> bool:
        """An engine takes its memory. Returns False if there is not enough."""

    def taken(self, generation: int) -> int | None:
        """Bytes that a ready engine holds, as measured; None if not measured."""

    def work(self, generation: int) -> None:
        """The engine begins to answer a request."""

    def sleep(self, generation: int, left: int) -> None:
        """The engine releases all but `left` bytes."""

    def wake(self, generation: int) -> None:
        """The engine takes its memory back."""

    def end(self, generation: int, now: float) -> int:
        """The engine is gone. Returns the bytes that should be free but are not."""


@dataclass(slots=True)
class ExactCard:
    """A device where each engine holds exactly its allotment until it is gone."""

    size: int
    _held: dict[int, int] = field(default_factory=dict)
    _awake: dict[int, int] = field(default_factory=dict)

    def free(self, now: float) -> int:  # noqa: ARG002  the interface's
        return self.size - sum(self._held.values())

    def load(self, generation: int, model: Model, allotment: Allotment, now: float) -> bool:
        size, tokens = allotment.claim, allotment.tokens
        if tokens is not None:
            size = min(size, model.weights + model.plan.overhead + model.plan.token * tokens)
        self._held[generation] = self._awake[generation] = size
        must(self.free(now) >= 0, "more is allotted than there is")
        return True

    def taken(self, generation: int) -> int | None:
        return self._held[generation]

    def work(self, generation: int) -> None:
        pass

    def sleep(self, generation: int, left: int) -> None:
        self._held[generation] = left

    def wake(self, generation: int) -> None:
        self._held[generation] = self._awake[generation]
        must(self.free(0.0) >= 0, "an engine woke without room")

    def end(self, generation: int, now: float) -> int:  # noqa: ARG002
        self._held.pop(generation, None)
        self._awake.pop(generation, None)
        return 0
