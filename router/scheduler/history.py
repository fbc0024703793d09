"""Measurements of earlier starts: their durations, and the memory that engines took.

The next start of a model is expected to be like its last one. For a model that never started
here, the expectation comes from its size and from the other models.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from router.models import EngineKey

REMEMBERED = 1024  # models

# Guesses, used until something was measured.
_FIRST_START = 30.0  # seconds
_FIRST_RATE = 1e9  # bytes per second, from a disk
_BUS = 10e9  # bytes per second, between a device and host memory
_IMPORTS = 0.4  # share of a start before the weights are loaded
_FIRST_STOP = 2.0  # seconds


class Stage(StrEnum):
    """A timed stage of an engine's life."""

    START = "start"  # from nothing to ready
    PRESTART = "prestart"  # from nothing to the gate
    FROM_GATE = "from gate"  # from the gate to ready
    SLEEP = "sleep"
    WAKE = "wake"
    STOP = "stop"


_MEMORY = "memory"
DURATIONS = tuple(stage.value for stage in Stage)
KINDS = (*DURATIONS, _MEMORY)


@dataclass(frozen=True, slots=True)
class Fact:
    """One measurement, kept for the next worker."""

    kind: str  # one of `KINDS`
    model: str  # a digest, because the name may be private
    size: int  # bytes of the model's files
    value: float  # seconds that a stage took, or bytes that an engine took


class Durations:
    """The durations of one stage, by model. For new models, estimated from their size."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, tuple[float, float]] = {}  # bytes, seconds
        # Sums of the sizes, the seconds, the squared sizes, and the products.
        self._sums = (0.0, 0.0, 0.0, 0.0)

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, key: Hashable, size: float, seconds: float) -> None:
        """Note that a stage took `seconds`, for a model whose files have `size` bytes."""
        self._forget(key)
        self._latest[key] = size, seconds
        self._count(size, seconds, 1)
        if len(self._latest) > REMEMBERED:
            self._forget(next(iter(self._latest)))

    def of(self, key: Hashable, size: float) -> float | None:
        """Expected seconds. None: no such stage was measured yet."""
        if known := self._latest.get(key):
            return known[1]
        return self._by_size(size) if self._latest else None

    def _by_size(self, size: float) -> float:
        """Linear regression over the measurements; at least a quarter of the mean."""
        count = len(self._latest)
        sizes, seconds, squares, products = self._sums
        mean = seconds / count
        spread = squares - sizes * sizes / count
        if spread <= 1e-9 * squares:  # all sizes are equal, except for rounding
            return mean
        slope = max(0.0, (products - sizes * seconds / count) / spread)
        return max(mean + slope * (size - sizes / count), mean / 4)

    def _forget(self, key: Hashable) -> None:
        if known := self._latest.pop(key, None):
            self._count(*known, -1)

    def _count(self, size: float, seconds: float, sign: int) -> None:
        one = (size, seconds, size * size, size * seconds)
        self._sums = tuple(a + sign * b for a, b in zip(self._sums, one, strict=True))  # type: ignore[assignment]  # four again


class History:
    """The measurements of this machine, for each stage and model."""

    def __init__(self) -> None:
        self._stages = {stage: Durations() for stage in Stage}
        self._memory: dict[str, int] = {}  # bytes that an engine took with its planned cache
        self._news: dict[tuple[str, str], Fact] = {}  # not yet returned by `take_news`
        self._names: dict[EngineKey, str] = {}  # a cache of digests

    def took(self, stage: Stage, key: EngineKey, size: int, seconds: float) -> None:
        """Note the duration of a successful stage."""
        self._note(Fact(stage.value, self._name(key), size, seconds))

    def measured(self, key: EngineKey, memory: int) -> None:
        """Note the bytes that an engine took with its planned cache."""
        self._note(Fact(_MEMORY, self._name(key), 0, memory))

    def learn(self, fact: Fact) -> None:
        """Add a measurement, of this worker or an earlier one."""
        if fact.kind != _MEMORY:
            self._stages[Stage(fact.kind)].add(fact.model, fact.size, fact.value)
            return
        self._memory.pop(fact.model, None)
        self._memory[fact.model] = int(fact.value)
        if len(self._memory) > REMEMBERED:
            del self._memory[next(iter(self._memory))]

    def take_news(self) -> list[Fact]:
        """Return the measurements of this worker since the last call."""
        news, self._news = list(self._news.values()), {}
        return news

    def memory(self, key: EngineKey) -> int | None:
        """Bytes that the model's engine took; None: never measured."""
        return self._memory.get(self._name(key))

    def _note(self, fact: Fact) -> None:
        self.learn(fact)
        self._news[fact.kind, fact.model] = fact
        if len(self._news) > REMEMBERED:  # nobody calls `take_news`
            del self._news[next(iter(self._news))]

    def _name(self, key: EngineKey) -> str:
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            text = "\n".join((key.repo_id, key.commit, str(key.listed), *key.flags))
            name = self._names[key] = sha256(text.encode()).hexdigest()[:32]
        return name

    def known(self, stage: Stage, key: EngineKey, size: int) -> float | None:
        """Expected seconds from measurements. None: no such stage was measured."""
        return self._stages[stage].of(self._name(key), size)

    def expected(self, stage: Stage, key: EngineKey, size: int) -> float:
        """Expected seconds of a stage, guessed if nothing was measured."""
        seconds = self.known(stage, key, size)
        if seconds is not None:
            return seconds
        match stage:
            case Stage.START:
                from_gate = self.known(Stage.FROM_GATE, key, size)
                guess = _FIRST_START + size / _FIRST_RATE
                return guess if from_gate is None else from_gate / (1 - _IMPORTS)
            case Stage.PRESTART:
                return _IMPORTS * self.expected(Stage.START, key, size)
            case Stage.FROM_GATE:
                return (1 - _IMPORTS) * self.expected(Stage.START, key, size)
            case Stage.SLEEP | Stage.WAKE:
                return size / _BUS
            case Stage.STOP:
                return _FIRST_STOP
