"""What a slot remembers for the operator alone: its last start, and its last failure.

No decision depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from router.scheduler.history import Stage


class FailureKind(StrEnum):
    """What failed."""

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
    """The latest start that succeeded, or the latest waking.

    `seconds`: for which requests waited for it. `stages`: what took time, with seconds each; a
    process that was prestarted reached its gate before anybody had to wait.
    """

    at: float
    seconds: float
    stages: tuple[tuple[Stage, float], ...]


@dataclass(slots=True)
class Track:
    """Of one slot. Times are in seconds, by the pool's clock."""

    starts: int = 0  # since the model was first wanted
    last_start: LastStart | None = None
    last_failure: LastFailure | None = None
    prestart: float | None = None  # what this start's process took to its gate; None: no wait

    def begin(self, prestart: float | None) -> None:
        """A start begins, of a process that took `prestart` seconds to its gate."""
        self.starts, self.prestart = self.starts + 1, prestart

    def up(self, stage: Stage, seconds: float, waited: float, now: float) -> None:
        """The engine is ready. `stage` took `seconds`; requests waited for `waited`."""
        ahead = stage is Stage.FROM_GATE and self.prestart is not None
        before = ((Stage.PRESTART, self.prestart or 0.0),) if ahead else ()
        self.last_start = LastStart(now, waited, (*before, (stage, seconds)))

    @property
    def has_failed(self) -> bool:
        """Whether no start has followed its last failure."""
        last, start = self.last_failure, self.last_start
        return last is not None and (start is None or start.at <= last.at)

    def failed(self, kind: FailureKind, text: str, now: float) -> None:
        self.last_failure = LastFailure(kind, now, text)
