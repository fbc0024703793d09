"""What happened in the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from router.admin.timeline import Happening, happenings
from router.scheduler import actions, events

KEPT = 3600.0  # seconds
MOST = 2000  # happenings


class LastHour:
    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=MOST)

    def tell(self, now: float, event: events.Event, decided: Sequence[actions.Action]) -> None:
        """Implements the pool's `Watcher`."""
        self._kept.extend(happenings(now, event, decided))

    def since(self, now: float) -> Sequence[Happening]:
        """The happenings of the last hour, the latest last. `now` is by the pool's clock."""
        while self._kept and self._kept[0].at < now - KEPT:
            self._kept.popleft()
        return tuple(self._kept)
