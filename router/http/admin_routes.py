"""The operator's routes, below `/admin/`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from aiohttp import web

from router.errors import RouteNotFound
from router.http.answers import READ, json_answer, method_not_allowed
from router.http.connection import HEADERS_KEY

PREFIX = "/admin/"
_STATE, _EVENTS = f"{PREFIX}state", f"{PREFIX}events"
_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each event on at once
}


class Operations(Protocol):
    """What the operator can see and do."""

    async def state(self) -> bytes:
        """The worker's state, as JSON."""
        ...

    def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events, until the worker ends. Raises `QueueFull` before the first."""
        ...


class AdminRoutes:
    """Implements `OperatorRoutes`."""

    label = "/admin"
    shows_data = True

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def has(self, path: str) -> bool:
        return path.startswith(PREFIX)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == _STATE:
            if request.method not in READ:
                return method_not_allowed(request, *READ)
            return json_answer(request, await self._operations.state())
        if path == _EVENTS:
            if request.method != "GET":
                return method_not_allowed(request, "GET")
            return await self._stream(request)
        raise RouteNotFound(f"No such route. There are: {_STATE}, {_EVENTS}.")

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        async with aclosing(self._operations.events()) as events:
            first = await anext(events)  # an error has a response of its own
            response = web.StreamResponse(headers=_STREAM)
            response.headers.update(request[HEADERS_KEY])
            await response.prepare(request)
            await response.write(first)
            async for event in events:
                await response.write(event)
        await response.write_eof()
        return response
