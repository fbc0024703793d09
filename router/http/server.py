"""The router's own HTTP server: passes requests to the service and sends its responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from router.access.keyring import Keyring
from router.config.hosts import is_loopback
from router.errors import InternalError, RouterError
from router.http.answers import READ, HttpAnswer, refused
from router.http.connections import Connections
from router.http.http_request import HttpRequest
from router.http.incoming import REQUEST_ID, BodyReader, request_id_of, trace_of
from router.http.operator import OperatorRoutes
from router.http.passing_on import pass_on
from router.http.refusals import Refusals
from router.http.routes import HEALTH, Route, Routes
from router.http.sites import Sites
from router.openapi.document import PATH as DOCUMENT
from router.outbox import Outbox
from router.requests.interfaces import Backend
from router.requests.outcomes import Outcome
from router.requests.record import Record
from router.requests.recorder import Recorder, known_route
from router.secrets import Secret

logger = logging.getLogger("router.http")

_LAST_MOMENT = 1.0  # seconds for a canceled request to clean up
_SLOW_READER = 10.0  # seconds beyond the service's own deadline


class HttpServer:
    """Serves `service` over HTTP.

    * `keys`: the API keys; by default, callers need none.
    * `max_body`: bytes of one request's body.
    * `upload_timeout`: seconds for a body to arrive.
    * `request_timeout`: seconds. The service enforces it itself; here it limits callers that
      read their answer slowly.
    * `read_timeout`: seconds within which a caller must read some of its answer.
    * `max_connections`: above it, the oldest spare connections are closed.
    * `sites`: the hosts and web pages that the operator allows. `start` finds out whether the
      server listens on loopback.
    * `operator`: routes for the operator, identified by `admin_key`. Without that key, the
      operator must be on this machine, the server must listen only on loopback, and callers
      must need no keys.
    * `recorder`: records and reports the outcome of each request.
    * `worker`: the worker's id for RunPod's load balancer, which all answers and model lists
      contain.
    * `outbox`: shared with the connections to the engines.
    """

    def __init__(
        self,
        service: Backend,
        *,
        keys: Keyring | None = None,
        max_body: int = 32 * 1024 * 1024,
        upload_timeout: float = 60.0,
        request_timeout: float = 3600.0,
        read_timeout: float = 30.0,
        max_connections: int = 4096,
        sites: Sites | None = None,
        operator: Sequence[OperatorRoutes] = (),
        admin_key: Secret | None = None,
        recorder: Recorder | None = None,
        worker: str = "",
        outbox: Outbox | None = None,
    ) -> None:
        self._recorder = recorder or Recorder()
        self._outbox = outbox or Outbox()
        self._longest = request_timeout + _SLOW_READER
        self._routes = Routes(
            service,
            BodyReader(max_body, min(upload_timeout, request_timeout)),
            keys or Keyring(),
            operator=operator,
            admin_key=admin_key,
            worker=worker,
        )
        self._max_connections, self._read_timeout = max_connections, read_timeout
        self._sites = sites or Sites()
        self._named = {"X-Runpod-Worker-Id": worker} if worker else {}
        self._refusals = Refusals()
        self._servers: list[Connections] = []
        self._listeners: list[asyncio.Server] = []
        self._active: set[asyncio.Task[Any]] = set()
        self._cut_off: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int, health_port: int | None = None) -> int:
        """Start listening. `health_port` serves only `/ping` and `/health`.

        Returns the port, which matters if `port` is 0. Raises `OSError`.
        """
        listener = await self._listen(self._routes.serve, host, port)
        if health_port not in (None, port):
            try:
                await self._listen(self._routes.serve_health, host, health_port)
            except OSError:
                listener.close()
                raise
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def _listen(self, serve: Route, host: str, port: int | None) -> asyncio.Server:
        server = Connections(
            partial(self._handle, serve),
            self._outbox,
            most=self._max_connections,
            read_timeout=self._read_timeout,
            longest=self._longest,
        )
        listener = await asyncio.get_running_loop().create_server(
            server, host, port, backlog=1024, start_serving=False
        )
        addresses = [bound.getsockname()[0] for bound in listener.sockets]
        on_loopback = self._routes.on_loopback = all(map(is_loopback, addresses))
        self._sites = replace(self._sites, on_loopback=on_loopback)
        await listener.start_serving()
        self._servers.append(server)
        self._listeners.append(listener)
        return listener

    async def stop(self, patience: float) -> None:
        """Stop accepting connections, wait `patience` seconds, then cancel the requests."""
        for listener in self._listeners:
            listener.close()
        for server in self._servers:
            server.leave()
        now = asyncio.get_running_loop().time
        end = now() + patience
        if self._active:
            _, late = await asyncio.wait(self._active, timeout=patience)
            self._cut_off |= late
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_LAST_MOMENT)
        # Slow callers may not have received their complete answers yet.
        left = max(_LAST_MOMENT, end - now())
        await asyncio.gather(*(server.close(left) for server in self._servers))
        self._recorder.flush()

    async def _handle(self, serve: Route, request: HttpRequest) -> HttpAnswer | None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - each request has a task
        self._active.add(task)
        request.always = {
            REQUEST_ID: request_id_of(request.headers),
            **self._named,
            **self._sites.response_headers(request.headers),
        }
        probe = request.path in HEALTH
        record = request.record = Record() if probe else self._open_record(request)
        try:
            answer = await self._guarded(serve, request)
            record.end(Outcome.OK, status=request.status if answer is None else answer.status)
            return answer
        finally:
            self._active.discard(task)
            if record.running:
                record.end(self._how_cut_off(request, task))
            if request.usage is not None:
                request.usage.end(record.tokens)
            if probe:
                logger.debug("%s %s", request.path, record.status or record.outcome)
            else:
                self._recorder.close(record)

    def _how_cut_off(self, request: HttpRequest, task: asyncio.Task[Any]) -> str:
        if task in self._cut_off:
            return Outcome.SHUT_DOWN
        return Outcome.NOT_READ if request.wire.gave_up else Outcome.CALLER_LEFT

    def _open_record(self, request: HttpRequest) -> Record:
        """Open a record with known words only: a caller can send any path or method."""
        path = request.path
        route = path if path == DOCUMENT else known_route(path)
        method = request.method if request.method in (*READ, "POST") else "-"
        request_id, chosen = request.always[REQUEST_ID], "x-request-id" in request.headers
        return self._recorder.open(
            route,
            method=method,
            request_id=request_id,
            chosen=chosen,
            trace=trace_of(request.headers),
        )

    async def _guarded(self, serve: Route, request: HttpRequest) -> HttpAnswer | None:
        """Turn each error that occurs before the head is sent into an error answer."""
        try:
            found = self._admit(request) or await serve(request)
            if found is None or isinstance(found, HttpAnswer):
                return found
            async with found as response:
                await pass_on(response, request)
            return None
        except RouterError as error:
            # Drop the frames: they would hold the received body while the refusal waits.
            refusal = error.with_traceback(None)
            refusal.__context__ = None
        except Exception as defect:
            begun = request.status or request.wire.over
            if begun and isinstance(defect, ConnectionError):
                raise  # the caller left or the answer broke off, so there is nobody to answer
            logger.exception("a defect of the router")
            if begun:
                request.record.break_off(InternalError.code)
                raise ConnectionResetError("the answer broke off") from None
            refusal = InternalError("The router failed on this request. Its log says why.")
        await self._refusals.hold(request.caller)
        return refused(request, refusal)

    def _admit(self, request: HttpRequest) -> HttpAnswer | None:
        """Refuse requests from foreign web pages, and answer CORS preflight requests."""
        head = request.head
        # RunPod's /ping probes set a Host of their own.
        if self._sites.on_loopback or head.path not in HEALTH:
            self._sites.check_host(head.target, head.headers)
        self._sites.check_page(head.headers)
        allowed = self._sites.preflight(head.method, head.headers)
        return None if allowed is None else HttpAnswer(204, allowed)
