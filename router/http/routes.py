"""Maps a request to an answer, or to a response of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from router.access.keyring import Keyring
from router.errors import RouteNotFound
from router.http.answers import READ, HttpAnswer, json_answer, method_not_allowed
from router.http.http_request import HttpRequest
from router.http.incoming import BodyReader, hf_token, offered_keys
from router.http.operator import OperatorGuard, OperatorRoutes
from router.openapi.document import PATH as DOCUMENT
from router.openapi.document import Document
from router.requests.interfaces import Backend, Response
from router.requests.model_list import model_list, model_object
from router.requests.record import OPERATOR
from router.requests.request import Request
from router.requests.routes import ROUTES
from router.secrets import Secret

HEALTH = ("/ping", "/health")
_MODELS = "/v1/models"

# An answer; None if it is already sent; or a response of the service.
Found = HttpAnswer | AbstractAsyncContextManager[Response] | None
Route = Callable[[HttpRequest], Awaitable[Found]]


class Routes:
    """`on_loopback`: the server listens only on loopback. The server sets it when it starts."""

    def __init__(
        self,
        service: Backend,
        bodies: BodyReader,
        keys: Keyring,
        *,
        operator: Sequence[OperatorRoutes],
        admin_key: Secret | None,
        worker: str,
    ) -> None:
        self.on_loopback = False
        self._service, self._bodies, self._keys = service, bodies, keys
        self._operator, self._admin_key = operator, admin_key
        self._worker = worker
        self._document = Document()

    async def serve(self, request: HttpRequest) -> Found:
        path = request.path
        if path in HEALTH:
            return await self.serve_health(request)
        routes = self._operators(path)
        if routes is not None and self._guard.admits(request.head, routes):
            if routes.shows_data or self._admin_key is None:
                # The operator's refusals must not wait behind those of callers without a key.
                request.caller = OPERATOR
                request.record.is_operators(routes.label)
            else:  # everybody may use these
                request.record.is_for_anybody(routes.label)
            return await routes.serve(request)
        caller = request.caller = self._keys.caller(offered_keys(request.headers))
        request.record.is_from(caller, self._keys.name(caller))
        if path == _MODELS or path.startswith(_MODELS + "/"):
            return await self._serve_models(request, path, caller)
        if path == DOCUMENT:
            return self._serve_document(request)
        if path not in ROUTES:
            raise RouteNotFound(f"No such route. There are: {', '.join([*ROUTES, _MODELS])}.")
        if request.method != "POST":
            return method_not_allowed(request, "POST")
        token = hf_token(request.headers)
        request.usage = self._keys.begin(caller)
        # Don't name the request: a variable would keep a second copy of a 32 MiB body until the
        # answer ends.
        return self._service.open(
            Request(
                path,
                await self._bodies.read_json(request, caller),
                token,
                caller,
                request.record,
            )
        )

    def _operators(self, path: str) -> OperatorRoutes | None:
        if path in ROUTES:  # the usual case
            return None
        return next((routes for routes in self._operator if routes.has(path)), None)

    @property
    def _guard(self) -> OperatorGuard:
        # With API keys, a caller on this machine may be a proxy that adds no header.
        here = self.on_loopback and not self._keys.needed
        return OperatorGuard(self._admin_key, on_loopback=here)

    async def serve_health(self, request: HttpRequest) -> HttpAnswer:
        """`/ping` as RunPod defines it: 204 starting, 200 ready, 503 leaving."""
        if request.path not in HEALTH:
            raise RouteNotFound("Only /ping and /health are here.")
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        health = self._service.health()
        state = "leaving" if health.leaving else "ready" if health.ready else "starting"
        if request.path == "/health":
            return json_answer({"status": state}, status=200 if state == "ready" else 503)
        status = {"leaving": 503, "ready": 200, "starting": 204}[state]
        return HttpAnswer(status)

    def _serve_document(self, request: HttpRequest) -> HttpAnswer:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        return json_answer(self._document.written())

    async def _serve_models(self, request: HttpRequest, path: str, caller: str) -> HttpAnswer:
        if request.method not in READ:
            return method_not_allowed(request, *READ)
        token = hf_token(request.headers)
        if name := path.removeprefix(_MODELS).removeprefix("/"):
            card = await self._service.model(name, token, caller)
            return json_answer(model_object(card, self._worker))
        cards = await self._service.models(token, caller)
        return json_answer(model_list(cards, self._worker))
