"""Groups the writes of one turn of the event loop.

A write wakes the process at the other end, which is expensive: with 32 callers, it took a sixth
of the router's CPU time. When writes follow each other closely, most of them find that process
awake.
"""

from __future__ import annotations

import asyncio

_SHORT = 16 * 1024  # bytes; a longer write costs more than a wake-up
_MOST = 64  # pending writes; a longer queue would delay the first one too much


class Outbox:
    """Writes for the HTTP server and the connections to engines, in order for each transport.

    `to_come` counts tasks that are ready, have not run yet, and are likely to write. While it
    is above 0, a short write waits for theirs, but at most one turn of the loop. A transport
    has at most one pending write, and none while its own buffer holds data: otherwise its
    writer would not learn that the other end reads too slowly.
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
        """Write everything that is pending. Skips transports that are closing."""
        waiting, self._waiting = self._waiting, {}
        for transport, data in waiting.items():
            if not transport.is_closing():
                transport.write(data)
