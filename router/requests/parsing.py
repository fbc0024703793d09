"""Parses bodies so that a slow one delays nobody else.

A slow body waits until its caller's earlier ones are parsed. Then it is parsed between two
steps of the event loop or, if that would block the loop, in a side process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from router.errors import InternalError, InvalidRequest, QueueFull, RouteNotFound
from router.requests.call import Call, parse, parse_aside
from router.requests.deadlines import out_of_time
from router.requests.parse_time import parse_time
from router.requests.request import Request
from router.requests.routes import ROUTES, Route
from router.side_process import Aside, Body, SideProcessDied, size

_log = logging.getLogger(__name__)

# Not more than the fixed cost of a request. A body this small is parsed without an estimate.
_MOMENT = 0.0005  # seconds
_SMALL = 4096  # bytes
_LONG = 0.02  # seconds that one body may block the event loop
_ALL = 32  # bodies of the largest size that may wait or be parsed, in total
_ONES = 16  # the same for one caller


class Parser:
    """`largest`: the maximum size of a body in bytes."""

    def __init__(self, aside: Aside, media_domains: frozenset[str], largest: int) -> None:
        self._aside, self._domains = aside, media_domains
        self._turns = Turns(most=_ALL * largest, most_each=_ONES * largest)

    async def read(self, request: Request, within: float) -> Call:
        """`parse`, at once for a fast body. Raises what `parse` raises, and `RouteNotFound`."""
        route = ROUTES.get(request.route)
        if route is None:
            # Don't repeat the route: a job's route can be megabytes, or invalid text.
            raise RouteNotFound(f"No such route. There are: {', '.join(ROUTES)}.")
        body = request.body
        if isinstance(body, bytes) and (len(body) <= _SMALL or parse_time(body) < _MOMENT):
            return parse(body, route, self._domains)
        return await self.parse(request, route, within)

    async def parse(self, request: Request, route: Route, within: float) -> Call:
        """`parse` a slow body within `within` seconds.

        Raises `InvalidRequest`, `QueueFull`, `DeadlineExceeded` or `InternalError`.
        """
        body = request.body
        try:
            async with (
                asyncio.timeout(within),
                self._turns.take(request.caller, size(body)),
            ):
                if isinstance(body, bytes) and parse_time(body) < _LONG:
                    await asyncio.sleep(0)  # others first: many such bodies may come
                    return parse(body, route, self._domains)
                return await self._parse_aside(body, route)
        except TimeoutError:
            raise out_of_time() from None

    async def _parse_aside(self, body: Body, route: Route) -> Call:
        try:
            call, content = await self._aside.run(
                parse_aside, route.path, self._domains, data=body
            )
        except TimeoutError:
            raise InvalidRequest(
                "The body takes too long to read. Send less in one request."
            ) from None
        except SideProcessDied as error:
            _log.error("a body could not be read: %s", error)
            raise InternalError(
                "The process that reads large bodies ended. Send the request again; if this "
                "goes on, the body is the cause."
            ) from None
        return call._replace(content=content)


@dataclass(slots=True)
class _Line:
    """One caller's bodies: the one that is parsed now, and those that wait."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    bytes: int = 0


class Turns:
    """One body of each caller at a time. All bodies together may have `most` bytes, and those
    of one caller `most_each`."""

    def __init__(self, most: int, most_each: int) -> None:
        self._left, self._most_each = most, most_each
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(self, caller: str, size: int) -> AsyncIterator[None]:
        """Wait for this caller's turn, which lasts for the block. Raises `QueueFull`."""
        line = self._lines.get(caller) or _Line()
        if line.bytes + size > self._most_each or size > self._left:
            raise QueueFull("Too many large bodies at once: try again.")
        self._lines[caller] = line
        self._left -= size
        line.bytes += size
        try:
            async with line.lock:
                yield
        finally:
            self._left += size
            line.bytes -= size
            if not line.bytes:
                del self._lines[caller]
