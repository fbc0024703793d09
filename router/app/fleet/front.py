"""The parts of an ingress: its entrance, its server, and its visits to replicas."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from router.app.configuration import Configuration
from router.app.fleet.entrance import Entrance
from router.app.fleet.overview import Overview
from router.app.fleet.raylet import Raylet
from router.http.fleet_routes import FleetRoutes
from router.http.listening import cannot_listen
from router.http.metrics_routes import MetricsRoutes
from router.http.open_files import MOST_CONNECTIONS, raise_open_files
from router.http.server import HttpServer
from router.http.sites import Sites
from router.ray.messages import ReplicaState
from router.ray.replica_call import ReplicaLost, VisitedReplicas
from router.redaction import Redactor
from router.requests.interfaces import Health
from router.requests.listing import LoadedModel
from router.tasks import cancel

_log = logging.getLogger("router.ray")

_LOOK = 1.0  # seconds between two visits
_PORT_PATIENCE = 60.0  # seconds for a former ingress on this node to release the port


class Front:
    """Listens at HOST and PORT while it is open."""

    def __init__(
        self,
        configuration: Configuration,
        replicas: VisitedReplicas,
        redactor: Redactor | None = None,
        *,
        port_patience: float = _PORT_PATIENCE,
    ) -> None:
        """`redactor` is the log's."""
        self._settings, self._replicas = configuration.settings, replicas
        self._port_patience = port_patience
        self._name = secrets.token_hex(8)
        self._states: Sequence[ReplicaState] = ()
        self._entrance = Entrance(configuration, self._name, redactor)
        self._visiting: asyncio.Task[None] | None = None
        self._leaving = False
        self._overview = Overview(
            self._name,
            replicas,
            lambda: self._states,
            health=self._health,
            hub=self._entrance.hub,
        )

    @property
    def is_seen(self) -> bool:
        """Whether this ingress still visits replicas. If not, they end its requests."""
        return self._visiting is not None and not self._visiting.done()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """Listen, and yield the port. At the end of the block, drain the requests in flight.

        Raises `OSError` if it can't listen; the log says why.
        """
        entrance, settings = self._entrance, self._settings
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(
                entrance.open(self._replicas, self._loaded, self._is_ready, self._overview)
            )
            server = HttpServer(
                parts.service,
                keys=entrance.keys,
                max_body=settings.max_body_bytes,
                request_timeout=settings.request_timeout,
                read_timeout=settings.read_timeout,
                max_connections=min(MOST_CONNECTIONS, raise_open_files() // 2),
                sites=Sites(settings.allowed_hosts, settings.cors_origins),
                recorder=entrance.recorder,
                operator=(
                    FleetRoutes(self._overview),
                    MetricsRoutes(parts.exposition),
                    MetricsRoutes(self._overview, "/metrics/replicas"),
                ),
                admin_key=settings.admin_api_key,
            )
            self._visiting = asyncio.create_task(self._visit())
            stack.push_async_callback(cancel, self._visiting)
            port = await self._listen(server)
            stack.push_async_callback(server.stop, settings.drain_timeout)
            _log.info("listening on http://%s:%d", settings.host, port)
            try:
                yield port
            finally:
                self._leaving = parts.service.leaving = True

    async def _listen(self, server: HttpServer) -> int:
        settings, now = self._settings, asyncio.get_running_loop().time
        until = now() + self._port_patience
        while True:
            try:
                return await server.start(settings.host, settings.port, settings.port_health)
            except OSError as error:
                if now() >= until:
                    _log.critical("%s", cannot_listen(settings, error))
                    raise
            await asyncio.sleep(1.0)

    async def _visit(self) -> None:
        """Visit all replicas again and again: they end the requests of a silent ingress."""
        raylet = Raylet()
        while True:
            raylet.check()
            try:
                self._states = await self._replicas.visit(self._name)
            except ReplicaLost as lost:
                _log.debug("no replica reported its state: %s", lost)
            except Exception:
                _log.exception("a defect of the router")
                raise
            await asyncio.sleep(_LOOK)

    def _health(self) -> Health:
        return Health(self._is_ready(), self._leaving)

    def _is_ready(self) -> bool:
        return any(state.ready for state in self._states)

    def _loaded(self) -> list[LoadedModel]:
        return [one for state in self._states for one in state.loaded]
