"""A process that is started before there is room for its engine."""

from __future__ import annotations

from dataclasses import dataclass

from router.scheduler.actions import Allotment
from router.scheduler.waiting import Caller


@dataclass(frozen=True, slots=True)
class Standby:
    """A process that was started ahead, up to its gate."""

    generation: int
    allotment: Allotment
    since: float
    caller: Caller = None  # of the request that it was started for; None: a spare process
    stood_at: float | None = None  # when it came to the gate

    @property
    def standing(self) -> bool:
        """It waits at the gate."""
        return self.stood_at is not None

    @property
    def took(self) -> float | None:
        """Seconds from its beginning to the gate; None: it is not there yet."""
        return None if self.stood_at is None else self.stood_at - self.since

    @property
    def devices(self) -> tuple[int, ...]:
        """Its flags name them, so it can go on nowhere else."""
        return self.allotment.devices
