"""Paces refusals: a caller that is refused all the time may not use up the router's CPU.

A refusal costs the router less than a millisecond and the caller nothing, so one caller without
a key could have all of that core. The first of them go out at once, so that a client with a
wrong setting is told right away.
"""

from __future__ import annotations

import asyncio

from cachetools import LRUCache

RATE, BURST = 50.0, 100.0  # refusals a second of one caller; and how many of them at once
LONGEST = 5.0  # seconds that one is held back
MOST_HELD = 256  # of one caller; all others are hung up on
_CALLERS = 1024


class _Pace:
    __slots__ = ("due", "held")

    def __init__(self) -> None:
        self.due = 0.0  # when all refusals so far would be out, at the rate
        self.held = 0


class Refusals:
    """One for each server. Callers without a key count as one."""

    def __init__(self) -> None:
        self._paces: LRUCache[str, _Pace] = LRUCache(_CALLERS)

    async def hold(self, caller: str) -> None:
        """Return when the next refusal of a caller may go out.

        Raises `ConnectionResetError` where too many of them wait already.
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
