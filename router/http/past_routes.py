"""The operator's routes for past events, below `/admin/`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from router.http.answers import READ, HttpAnswer, json_answer, method_not_allowed
from router.http.event_answers import event_stream
from router.http.http_request import HttpRequest

_JOURNAL, _ACTIVITY = "/admin/journal", "/admin/activity"
_MODELS, _LOGS = "/admin/models/", "/logs"


class PastEvents(Protocol):
    """Past events that the operator can read."""

    async def journal(self) -> bytes:
        """The events of the last hour, as JSON."""
        ...

    def activity(self) -> bytes:
        """The requests in progress and the most recent finished ones, as JSON."""
        ...

    def log(self, name: str) -> bytes:
        """The last output lines of a model's engines, as JSON."""
        ...

    def follow_log(self, name: str) -> AsyncGenerator[bytes]:
        """The same lines and each new one, as server-sent events. Raises `QueueFull` before the
        first event."""
        ...


class PastRoutes:
    """Implements `OperatorRoutes`."""

    label = "/admin"
    shows_data = True

    def __init__(self, past: PastEvents) -> None:
        self._past = past

    def has(self, path: str) -> bool:
        return path in (_JOURNAL, _ACTIVITY) or _model_of(path) != ""

    async def serve(self, request: HttpRequest) -> HttpAnswer | None:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        if model := _model_of(request.path):
            if request.head.query("follow") in ("1", "true") and request.method == "GET":
                await event_stream(request, self._past.follow_log(model))
                return None
            return json_answer(self._past.log(model))
        if request.path == _JOURNAL:
            return json_answer(await self._past.journal())
        return json_answer(self._past.activity())


def _model_of(path: str) -> str:
    """The model in the path of a log; "" for any other path."""
    name, slash, last = path.removeprefix(_MODELS).rpartition("/")
    return name if path.startswith(_MODELS) and slash + last == _LOGS else ""
