"""Rate-limits refusals, so that a caller that is always refused can't use up the CPU.

A refusal costs the router less than a millisecond and the caller nothing, so one caller without
a key could occupy a whole core. The first refusals go out immediately: a client with a wrong
setting learns it right away.
"""

from __future__ import annotations

import asyncio

from cachetools import LRUCache

RATE, BURST = 50.0, 100.0  # refusals per second for one caller; how many of them without delay
LONGEST = 5.0  # seconds of delay for one refusal
MOST_HELD = 256  # for one caller; above it, the connection is closed
_CALLERS = 1024


class _Pace:
    __slots__ = ("due", "held")

    def __init__(self) -> None:
        self.due = 0.0  # when all refusals so far would be sent at that rate
        self.held = 0


class Refusals:
    """Keeps one rate limit per caller. All callers without a key share one."""

    def __init__(self) -> None:
        self._paces: LRUCache[str, _Pace] = LRUCache(_CALLERS)

    async def hold(self, caller: str) -> None:
        """Wait until the caller's next refusal may be sent.

        Raises `ConnectionResetError` if too many of them are already waiting.
        """
        pace = self._paces.setdefault(caller, _Pace())
        now = asyncio.get_running_loop().time()
        wait = pace.due - now - BURST / RATE
        if wait > 0 and pace.held >= MOST_HELD:
            raise ConnectionResetError("too many refusals of this caller wait")
        pace.due = min(max(pace.due, now) + 1 / RATE, now + BURST / RATE + LONGEST)
        if wait > 0:
            pace.held += 1
            try:
                await asyncio.sleep(wait)
            finally:
                pace.held -= 1
