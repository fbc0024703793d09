"""How long engines took to start, and how long the starts that run may still take."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from router.clock import Clock
from router.models import EngineKey

_REMEMBERED = 256  # models


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one start."""

    full: float  # all its work, without the time that it waited at its gate
    from_gate: float | None = None  # the part of it behind the gate; None: it had none
    waited_for: float = 0.0  # from when it was to start until it was ready

    def __str__(self) -> str:
        how = "" if self.from_gate is None else " (prestarted)"
        return f"{self.waited_for:.1f} s{how}"


@dataclass(slots=True)
class _Stages:
    """When a start came how far; None: not yet."""

    began: float
    stood: float | None = None  # at its gate
    opened: float | None = None  # may go on

    @property
    def went_on(self) -> float | None:
        """When it left its gate."""
        if self.stood is None or self.opened is None:
            return None
        return max(self.stood, self.opened)


class StartTimes:
    """By the number of the start, not by model: an abandoned one may still be ending when the
    next for the same model has begun."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[int, _Stages] = {}
        self._last: dict[EngineKey, Took] = {}

    def begin(self, number: int) -> None:
        """The process starts."""
        self._running[number] = _Stages(self._clock())

    def stood(self, number: int) -> None:
        """It waits at its gate, or would, if that were closed."""
        stages = self._running[number]
        stages.stood = self._clock()

    def opened(self, number: int) -> None:
        """It may go on, whether or not it has come to its gate."""
        if stages := self._running.get(number):
            stages.opened = self._clock()

    def end(self, number: int) -> Took:
        """It has succeeded or failed, or was given up."""
        now = self._clock()
        stages = self._running.pop(number, _Stages(now))
        opened = now if stages.opened is None else stages.opened
        if stages.stood is None or stages.went_on is None:
            return Took(now - opened, None, now - opened)
        behind = now - stages.went_on
        return Took(stages.stood - stages.began + behind, behind, now - opened)

    def remember(self, key: EngineKey, took: Took) -> None:
        """A start has succeeded."""
        self._last.pop(key, None)
        self._last[key] = took
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]

    def full(self, key: EngineKey) -> float | None:
        """Seconds that the model's last start took, or else the average of all models."""
        if key in self._last:
            return self._last[key].full
        return fmean(took.full for took in self._last.values()) if self._last else None

    def from_gate(self, key: EngineKey) -> float | None:
        """The same, of starts that began at a gate; of whole ones, where none did."""
        last = self._last.get(key)
        if last is not None and last.from_gate is not None:
            return last.from_gate
        seen = [one.from_gate for one in self._last.values() if one.from_gate is not None]
        return fmean(seen) if seen else self.full(key)

    def left(self, number: int, key: EngineKey) -> float | None:
        """Seconds until a start that runs is ready; None where that can't be estimated."""
        stages = self._running.get(number)
        if stages is None:
            return None
        if stages.went_on is None:
            expected, since = self.full(key), stages.began
        else:
            expected, since = self.from_gate(key), stages.went_on
        return None if expected is None else max(0.0, expected - (self._clock() - since))
