"""Divides the models of a trace into groups, each for a worker of its own.

Models that are requested at the same time compete for memory, so they get different groups.
Models that are requested at different times can share one. Takes time linear in requests times
groups.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.simulation.arrivals import ArrivalTrace

WINDOW = 120.0  # seconds; a model counts as wanted in a window with a request
_FEW = 2000  # windows at most; a longer trace has longer windows


def groups(trace: ArrivalTrace, count: int) -> list[list[int]]:
    """Indexes of the models in `count` groups, most wanted first. A group may be empty."""
    window = max(WINDOW, trace.lasts / _FEW)
    wanted: list[dict[int, int]] = [{} for _ in trace.models]  # requests by window
    for one in trace.requests:
        of = wanted[one.model]
        of[int(one.at / window)] = of.get(int(one.at / window), 0) + 1
    made = [_Group(trace.machine.device) for _ in range(count)]
    order = sorted(
        range(len(trace.models)), key=lambda n: (-len(wanted[n]) * trace.models[n].bytes, n)
    )
    for number in order:
        size, when = trace.models[number].bytes, wanted[number]
        best = min(range(count), key=lambda n: made[n].cost(when, size))
        made[best].add(number, when, size)
    return [group.models for group in made]


class _Group:
    def __init__(self, device: int) -> None:
        self._device = device
        self._taken: dict[int, int] = {}  # bytes by window
        self._total = self._requests = 0
        self.models: list[int] = []

    def cost(self, when: dict[int, int], size: int) -> tuple[int, int, int]:
        """The cost of adding a model: the bytes above the device's size that it would add, over
        all windows; then the group's total bytes and requests, to break ties."""
        over = 0
        for window in when:
            left = self._device - self._taken.get(window, 0)
            over += max(0, min(size, size - left))
        return over, self._total, self._requests

    def add(self, number: int, when: dict[int, int], size: int) -> None:
        self.models.append(number)
        for window in when:
            self._taken[window] = self._taken.get(window, 0) + size
        self._total += len(when) * size
        self._requests += sum(when.values())


def places(trace: ArrivalTrace, made: Sequence[Sequence[int]]) -> dict[str, int]:
    """The number of each model's group, by the model's name."""
    return {trace.models[number].name: group for group, of in enumerate(made) for number in of}
