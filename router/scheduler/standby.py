"""A process that is started before there is room for its engine."""

from __future__ import annotations

from dataclasses import dataclass

from router.scheduler.actions import Allotment
from router.scheduler.waiting import Caller


@dataclass(frozen=True, slots=True)
class Standby:
    """A prestarted process."""

    generation: int
    allotment: Allotment
    since: float
    caller: Caller = None  # of the request that it was started for; None: a spare process
    stood_at: float | None = None  # when it reached its gate

    @property
    def standing(self) -> bool:
        """Whether it waits at its gate."""
        return self.stood_at is not None

    @property
    def took(self) -> float | None:
        """Seconds from its start to the gate; None: it is not there yet."""
        return None if self.stood_at is None else self.stood_at - self.since

    @property
    def devices(self) -> tuple[int, ...]:
        """The only devices it can use, because its flags name them."""
        return self.allotment.devices
