"""Checks regularly whether a caller is still there and reads its answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Protocol

from router.http.reading import Reading, hang_up, has_left, unread

logger = logging.getLogger("router.http")

_KEEP_ALIVE = 75.0  # seconds; also the limit for the headers of a request to arrive
_LOOKS = 8  # checks per `read_timeout`
# TCP keepalive, in seconds (and a count): notices a silent caller that is gone within a minute.
_PROBES = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 30,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
}


class Watched(Protocol):
    """A connection. `since` is when its request began, or when it became idle."""

    since: float
    gave_up: bool

    @property
    def sent(self) -> int:
        """Bytes sent, for all answers."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""
        ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def held_back(self) -> bool:
        """Whether reading is paused."""
        ...

    def close(self) -> None: ...


class Watch:
    """Closes a connection that stalls or idles.

    `read_timeout`: seconds within which a caller must read some of its answer. `longest`:
    seconds for a whole request.
    """

    __slots__ = ("_every", "_longest", "_loop", "_reading", "_timer", "_transport", "_watched")

    def __init__(
        self,
        watched: Watched,
        transport: asyncio.Transport,
        *,
        read_timeout: float,
        longest: float,
    ) -> None:
        for (level, option), value in _PROBES.items():
            transport.get_extra_info("socket").setsockopt(level, option, value)
        self._watched, self._transport, self._longest = watched, transport, longest
        self._loop = asyncio.get_running_loop()
        self._reading = Reading(read_timeout, self._loop.time())
        self._every = min(read_timeout, _KEEP_ALIVE) / _LOOKS
        self._timer = self._loop.call_later(self._every, self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now, watched = self._loop.time(), self._watched
        if watched.held_back and has_left(self._transport):  # asyncio misses the end
            self._transport.abort()
            return
        stalled = self._reading.has_stalled(now, watched.sent, unread(self._transport))
        if stalled or (watched.busy and now - watched.since >= self._longest):
            watched.gave_up = True
            name = "READ_TIMEOUT" if stalled else "REQUEST_TIMEOUT"
            logger.info(
                "a caller does not read its answer: %s is over, so the connection ends", name
            )
            hang_up(self._transport)
            return
        if watched.is_idle and now - watched.since >= _KEEP_ALIVE:
            watched.close()
        self._timer = self._loop.call_later(self._every, self._look)
