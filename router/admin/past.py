"""What the operator sees of the past: the last hour."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from router.admin.last_hour import LastHour
from router.admin.state import StateWriter
from router.clock import Clock


class Past:
    """Implements `router.http.past_routes.PastEvents`.

    `clock`: the pool's. `wall`: seconds since 1970.
    """

    def __init__(
        self, journal: LastHour, writer: StateWriter, clock: Clock, wall: Callable[[], float]
    ) -> None:
        self._journal, self._writer = journal, writer
        self._clock, self._wall = clock, wall

    def journal(self) -> bytes:
        """What happened in the last hour, the latest last, as JSON."""
        now = self._clock()
        shift = self._wall() - now
        lines = [self._writer.happening(one, shift) for one in self._journal.since(now)]
        return orjson.dumps({"events": lines})
