"""A slot's last start and last failure, for the operator. No decision depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from router.scheduler.history import Stage


class FailureKind(StrEnum):
    """The operation that failed."""

    DOWNLOAD = "download"
    START = "start"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The latest failure of a model. `text`: the reason, for the operator."""

    kind: FailureKind
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class LastStart:
    """The latest successful start or wake-up.

    `seconds`: how long requests waited for it. `stages`: each timed stage with its seconds. A
    prestarted process may have reached its gate before any request waited.
    """

    at: float
    seconds: float
    stages: tuple[tuple[Stage, float], ...]


@dataclass(slots=True)
class Track:
    """The record of one slot. Times are in seconds, by the pool's clock."""

    starts: int = 0  # since the model was first wanted
    last_start: LastStart | None = None
    last_failure: LastFailure | None = None
    prestart: float | None = None  # seconds to its gate; None: it did not wait there

    def begin(self, prestart: float | None) -> None:
        """A start begins. `prestart`: the seconds that its process took to its gate."""
        self.starts, self.prestart = self.starts + 1, prestart

    def up(self, stage: Stage, seconds: float, waited: float, now: float) -> None:
        """The engine is ready. `stage` took `seconds`; requests waited `waited` seconds."""
        ahead = stage is Stage.FROM_GATE and self.prestart is not None
        before = ((Stage.PRESTART, self.prestart or 0.0),) if ahead else ()
        self.last_start = LastStart(now, waited, (*before, (stage, seconds)))

    @property
    def has_failed(self) -> bool:
        """Whether no successful start has followed its last failure."""
        last, start = self.last_failure, self.last_start
        return last is not None and (start is None or start.at <= last.at)

    def failed(self, kind: FailureKind, text: str, now: float) -> None:
        self.last_failure = LastFailure(kind, now, text)
