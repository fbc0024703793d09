"""Engines that read weights at once share the rate at which one alone would read."""

from __future__ import annotations

from math import inf

_REST = 1.0  # bytes: less is left only by rounding


class WeightReads:
    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left: dict[int, float] = {}  # bytes, by generation
        self._at = 0.0  # when these were right

    def begin(self, generation: int, size: int, now: float) -> None:
        self._go_on(now)
        self._left[generation] = size

    def end(self, generation: int, now: float) -> None:
        """Before it is done, or without effect."""
        self._go_on(now)
        self._left.pop(generation, None)

    def next_done(self, now: float) -> float:
        """When the next of them is done, if no other begins or ends; `inf`: none loads."""
        self._go_on(now)
        if not self._left:
            return inf
        return now + max(0.0, min(self._left.values())) * len(self._left) / self._rate

    def done(self, now: float) -> list[int]:
        """Those that are done, once for each."""
        self._go_on(now)
        done = [generation for generation, left in self._left.items() if left <= _REST]
        for generation in done:
            del self._left[generation]
        return done

    def _go_on(self, now: float) -> None:
        each = (now - self._at) * self._rate / max(1, len(self._left))
        self._left = {generation: left - each for generation, left in self._left.items()}
        self._at = now
