"""The router's own HTTP server: renders what the service yields."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import orjson
from aiohttp import web

from router.errors import (
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    RouterError,
)
from router.http.auth import ApiKeys
from router.http.body import Bodies
from router.http.connection import Handler, QuietServer, error_response
from router.http.reply import Reply, unexpected
from router.requests.model_list import model_list, model_object
from router.requests.response import Part, Request
from router.requests.routes import ROUTES
from router.requests.service import Health, ModelCard

logger = logging.getLogger("router.http")

_HEALTH = ("/ping", "/health")
_MODELS = "/v1/models"
_READ = ("GET", "HEAD")
_LAST_MOMENT = 1.0  # seconds for a request that was cut off to clean up
_SLOW_READER = 10.0  # seconds on top of the service's own deadline
_CALLER_LEFT = 499  # nginx's number; in the log only


class HttpBackend(Protocol):
    """What this transport needs of `router.requests.service`."""

    def answer(self, request: Request) -> AsyncGenerator[Part, None]:
        """One Head, then Body. Raises `RouterError` before the Head or in the
        body; closing it ends the request and frees what it held."""
        ...

    async def models(self, hf_token: str | None, caller: str) -> Sequence[ModelCard]: ...

    async def model(self, name: str, hf_token: str | None, caller: str) -> ModelCard:
        """Raises `AccessError`, the same for a model that is not there."""
        ...

    def health(self) -> Health: ...


class HttpServer:
    """Serves `service`. `api_keys`: empty for none; `max_body` in bytes; `upload_timeout`
    in seconds, for one request's body to arrive; `request_timeout`, which the service
    keeps by itself, bounds those as well who do not read their answer. Beyond
    `max_connections`, the oldest that wait for a request are closed."""

    def __init__(
        self,
        service: HttpBackend,
        *,
        api_keys: Collection[str] = (),
        max_body: int = 32 * 1024 * 1024,
        upload_timeout: float = 60.0,
        request_timeout: float = 3600.0,
        max_connections: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._clock = clock
        self._longest = request_timeout + _SLOW_READER
        self._keys = ApiKeys(api_keys)
        self._bodies = Bodies(max_body, min(upload_timeout, request_timeout))
        self._max_connections = max_connections
        self._servers: list[QuietServer] = []
        self._listeners: list[asyncio.Server] = []
        self._active: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int, health_port: int | None = None) -> int:
        """Listen, with `/ping` and `/health` alone on `health_port`. Returns the port
        (of use where `port` is 0)."""
        listener = await self._listen(partial(self._handle, self._serve), host, port)
        if health_port not in (None, port):
            serve = partial(self._handle, self._serve_health)
            try:
                await self._listen(serve, host, health_port)
            except OSError:
                listener.close()
                raise
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def _listen(self, handler: Handler, host: str, port: int | None) -> asyncio.Server:
        server = QuietServer(handler, self._max_connections)
        listener = await asyncio.get_running_loop().create_server(
            server, host, port, backlog=1024
        )
        self._servers.append(server)
        self._listeners.append(listener)
        return listener

    async def stop(self, patience: float) -> None:
        """Accept no more; give running requests `patience` seconds; then cut them off."""
        for listener in self._listeners:
            listener.close()
        for server in self._servers:
            server.pre_shutdown()
        if self._active:
            _, late = await asyncio.wait(self._active, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_LAST_MOMENT)
        await asyncio.gather(*(server.shutdown(_LAST_MOMENT) for server in self._servers))

    async def _handle(self, serve: Handler, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp runs each request in a task
        self._active.add(task)
        began = time.perf_counter()
        status = _CALLER_LEFT
        try:
            async with asyncio.timeout(self._longest):
                response = await _guarded(serve, request)
            status = response.status
            return response
        except TimeoutError:
            raise ConnectionResetError("the answer was not read in time") from None
        finally:
            self._active.discard(task)
            _log_access(request, status, time.perf_counter() - began)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path  # decoded, without the query, where nothing of ours is
        if path in _HEALTH:
            return await self._serve_health(request)
        caller = self._keys.caller(_offered_keys(request))
        if path == _MODELS or path.startswith(_MODELS + "/"):
            return await self._serve_models(request, path, caller)
        if path not in ROUTES:
            raise RouteNotFound(f"No such route. There are: {', '.join([*ROUTES, _MODELS])}.")
        if request.method != "POST":
            return _method_not_allowed("POST")
        return await self._answer(request, path, caller)

    async def _serve_health(self, request: web.BaseRequest) -> web.StreamResponse:
        """`/ping` as RunPod reads it: 204 starting, 200 ready, 503 leaving."""
        if request.path not in _HEALTH:
            raise RouteNotFound("Only /ping and /health are here.")
        if request.method not in _READ:
            return _method_not_allowed(", ".join(_READ))
        health = self._service.health()
        state = "leaving" if health.leaving else "ready" if health.ready else "starting"
        if request.path == "/health":
            return _json({"status": state}, status=200 if state == "ready" else 503)
        return web.Response(status={"leaving": 503, "ready": 200, "starting": 204}[state])

    async def _serve_models(
        self, request: web.BaseRequest, path: str, caller: str
    ) -> web.StreamResponse:
        if request.method not in _READ:
            return _method_not_allowed(", ".join(_READ))
        token = _hf_token(request)
        if name := path.removeprefix(_MODELS).removeprefix("/"):
            return _json(model_object(await self._service.model(name, token, caller)))
        return _json(model_list(await self._service.models(token, caller)))

    async def _answer(
        self, request: web.BaseRequest, path: str, caller: str
    ) -> web.StreamResponse:
        token = _hf_token(request)
        body = await self._bodies.read_json(request)
        # What the request holds ends with this block, however the caller leaves; a
        # generator that is merely dropped would hold it until it is collected.
        async with aclosing(self._service.answer(Request(path, body, token, caller))) as parts:
            return await Reply(request, self._clock).send(parts)


async def _guarded(serve: Handler, request: web.BaseRequest) -> web.StreamResponse:
    """Every failure before the head becomes an envelope."""
    try:
        return await serve(request)
    except RouterError as error:
        return error_response(error)
    except Exception as error:
        begun = request.writer.output_size > 0 or request.transport is None
        if begun and isinstance(error, ConnectionError):
            raise  # the caller left, or the answer broke off: there is nobody to tell
        return error_response(unexpected(error))


def _hf_token(request: web.BaseRequest) -> str | None:
    values = request.headers.getall("X-HF-Token", [])
    if len(values) > 1:
        raise InvalidRequest("`X-HF-Token` is there more than once.")
    return values[0] if values else None


def _offered_keys(request: web.BaseRequest) -> Iterator[str]:
    for value in request.headers.getall("Authorization", []):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    if request.path.startswith("/v1/messages"):  # Anthropic's clients
        yield from request.headers.getall("x-api-key", [])


def _method_not_allowed(allowed: str) -> web.Response:
    error = MethodNotAllowed(f"This route takes {allowed}.")
    return error_response(error, Allow=allowed)


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(content), content_type="application/json"
    )


def _log_access(request: web.BaseRequest, status: int, seconds: float) -> None:
    """One line a request, of known words only: a path or a method can be anything."""
    path = request.path
    known = path in ROUTES or path in _HEALTH
    route = path if known else _MODELS if path.startswith(_MODELS) else "-"
    method = request.method if request.method in (*_READ, "POST") else "-"
    level = logging.DEBUG if path in _HEALTH else logging.INFO
    logger.log(level, "%s %s %d %.0f ms", method, route, status, seconds * 1000)
