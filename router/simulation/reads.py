"""Simulates reading weights: engines that read at the same time share one rate."""

from __future__ import annotations

from math import inf

_REST = 1.0  # bytes; less remains only by rounding


class WeightReads:
    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left: dict[int, float] = {}  # bytes, by generation
        self._at = 0.0  # the time of these numbers

    def begin(self, generation: int, size: int, now: float) -> None:
        self._go_on(now)
        self._left[generation] = size

    def end(self, generation: int, now: float) -> None:
        """Stop a read. Does nothing if it is already done."""
        self._go_on(now)
        self._left.pop(generation, None)

    def next_done(self, now: float) -> float:
        """When the next read is done, if no other begins or ends; `inf` if there is none."""
        self._go_on(now)
        if not self._left:
            return inf
        return now + max(0.0, min(self._left.values())) * len(self._left) / self._rate

    def done(self, now: float) -> list[int]:
        """The reads that are done. Each is returned once."""
        self._go_on(now)
        done = [generation for generation, left in self._left.items() if left <= _REST]
        for generation in done:
            del self._left[generation]
        return done

    def _go_on(self, now: float) -> None:
        each = (now - self._at) * self._rate / max(1, len(self._left))
        self._left = {generation: left - each for generation, left in self._left.items()}
        self._at = now
