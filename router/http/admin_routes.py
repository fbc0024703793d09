"""The operator's routes, below `/admin/`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Protocol

from router.errors import RouteNotFound
from router.http.answers import READ, Handler, HttpAnswer, json_answer, method_not_allowed
from router.http.event_answers import event_stream
from router.http.http_request import HttpRequest

PREFIX = "/admin/"
_MODELS = f"{PREFIX}models/"
_VERBS = ("load", "unload", "pin", "unpin")
_ROUTES = (
    *(f"{PREFIX}{name}" for name in ("state", "events", "journal", "activity")),
    *(f"{PREFIX}{name}" for name in ("reload", "drain")),
    *(f"{_MODELS}{{id}}/{verb}" for verb in (*_VERBS, "logs")),
)


class Operations(Protocol):
    """What the operator can see and do."""

    async def state(self) -> bytes:
        """The worker's state, as JSON."""
        ...

    def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events, until the worker ends. Raises `QueueFull` before the first."""
        ...

    # Each of these returns JSON about the affected engines, and raises `RouterError`.

    async def load(self, name: str, *, wait: bool) -> bytes:
        """With `wait`, return once the model is ready."""
        ...

    def unload(self, name: str) -> bytes: ...

    def pin(self, name: str) -> bytes: ...

    def unpin(self, name: str) -> bytes: ...

    async def reload(self) -> bytes:
        """Read the operator's models again. Returns JSON. Raises `RouterError`."""
        ...

    def known(self, name: str) -> str:
        """The repository of a model that is loaded, is loading, or has failed, by any of its
        names; "" for other text."""
        ...

    def drain(self) -> None:
        """Start draining the worker: it exits after its requests in flight."""
        ...


class AdminRoutes:
    """Implements `OperatorRoutes`."""

    label = "/admin"
    shows_data = True

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def has(self, path: str) -> bool:
        return path.startswith(PREFIX)

    async def serve(self, request: HttpRequest) -> HttpAnswer | None:
        handler, methods = self._route(request.path)  # decoded
        if request.method not in methods:
            return method_not_allowed(request, *methods)
        return await handler(request)

    def _route(self, path: str) -> tuple[Handler, tuple[str, ...]]:
        """Return the handler of a path and its methods. Raises `RouteNotFound`."""
        match path:
            case "/admin/state":
                return self._state, READ
            case "/admin/events":
                return self._stream, ("GET",)
            case "/admin/reload":
                return self._reload, ("POST",)
            case "/admin/drain":
                return self._drain, ("POST",)
        name, _, verb = path.removeprefix(_MODELS).rpartition("/")
        if path.startswith(_MODELS) and name and verb in _VERBS:
            return partial(self._operate, name, verb), ("POST",)
        raise RouteNotFound(f"No such route. There are: {', '.join(_ROUTES)}.")

    async def _state(self, _: HttpRequest) -> HttpAnswer:
        return json_answer(await self._operations.state())

    async def _reload(self, request: HttpRequest) -> HttpAnswer:
        request.record.route = request.path
        return json_answer(await self._operations.reload())

    async def _drain(self, request: HttpRequest) -> HttpAnswer:
        request.record.route = request.path
        self._operations.drain()
        return json_answer({"leaving": True}, 202)

    async def _operate(self, name: str, verb: str, request: HttpRequest) -> HttpAnswer:
        operations, record = self._operations, request.record
        record.route, record.model = f"{_MODELS}{{id}}/{verb}", operations.known(name)
        match verb:
            case "load":
                wait = request.head.query("wait") in ("1", "true")
                loaded = await operations.load(name, wait=wait)
                record.model = operations.known(name)
                return json_answer(loaded, 200 if wait else 202)
            case "unload":
                return json_answer(operations.unload(name))
            case "pin":
                return json_answer(operations.pin(name))
        return json_answer(operations.unpin(name))

    async def _stream(self, request: HttpRequest) -> None:
        await event_stream(request, self._operations.events())
