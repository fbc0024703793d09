"""The operator's routes for what has happened, below `/admin/`."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from router.http.answers import READ, json_answer, method_not_allowed

_JOURNAL = "/admin/journal"


class PastEvents(Protocol):
    """What the operator sees of the past."""

    def journal(self) -> bytes:
        """What happened in the last hour, as JSON."""
        ...


class PastRoutes:
    """Implements `OperatorRoutes`."""

    label = "/admin"
    shows_data = True

    def __init__(self, history: PastEvents) -> None:
        self._history = history

    def has(self, path: str) -> bool:
        return path == _JOURNAL

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        return json_answer(request, self._history.journal())
