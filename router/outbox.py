"""Writes that go out together, where several are made in one turn of the loop.

A write wakes the process at the other end, which is dear: with 32 callers, it took a sixth of
the router's CPU time. Of writes that follow one another closely, most find it awake.
"""

from __future__ import annotations

import asyncio

_SHORT = 16 * 1024  # bytes; a longer write costs more than a wake-up
_MOST = 64  # writes that wait; what many more requests do would hold up the first for long


class Outbox:
    """What the HTTP server and the connections to engines write, in order for each transport.

    `to_come`: tasks that were made ready to run, have not run yet, and are likely to write.
    While there are some, a short write waits for theirs, but no longer than one turn of the
    loop. One at a time of each transport, and none while that still has something to send:
    else its writer would not learn that the other end reads too slowly.
    """

    __slots__ = ("_waiting", "to_come")

    def __init__(self) -> None:
        self.to_come = 0
        self._waiting: dict[asyncio.Transport, bytes] = {}

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        waiting = self._waiting
        if not (self.to_come or waiting):
            transport.write(data)
        elif (
            len(data) > _SHORT or transport in waiting or transport.get_write_buffer_size() > 0
        ):
            self.flush()
            transport.write(data)
        else:
            waiting[transport] = data
            if not self.to_come or len(waiting) >= _MOST:
                self.flush()
            elif len(waiting) == 1:
                asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits. A transport that is closing takes no more."""
        waiting, self._waiting = self._waiting, {}
        for transport, data in waiting.items():
            if not transport.is_closing():
                transport.write(data)
