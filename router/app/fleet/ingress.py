"""An ingress: the router's own HTTP server, in front of replicas."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from router import logs
from router.app.configuration import Configuration
from router.app.fleet.entrance import Entrance
from router.app.fleet.raylet import Raylet
from router.concealment import hide_memory
from router.config.platform import Platform
from router.http.open_files import MOST_CONNECTIONS, raise_open_files
from router.http.server import HttpServer
from router.http.sites import Sites
from router.ray.handle import RayReplicas
from router.ray.messages import ReplicaState
from router.ray.replica_call import ReplicaLost
from router.requests.listing import LoadedModel
from router.tasks import cancel

_log = logging.getLogger("router.ray")

_LOOK = 1.0  # seconds between two visits
_PORT_PATIENCE = 60.0  # seconds for a former ingress on this node to give the port back


class Ingress:
    """Ray Serve makes at most one on each node. It listens at HOST and PORT by itself: what
    its HTTP server promises does not pass another server first."""

    async def __init__(self, replicas: Any) -> None:  # type: ignore[misc]  # noqa: ANN401
        """`replicas`: Ray's handle. Raises `SettingsError`, and `OSError`
        where it can't listen."""
        hide_memory()
        configuration = Configuration.read(os.environ, Platform.PLAIN)
        settings = self._settings = configuration.settings
        redactor = logs.configure(
            settings.log_level, settings.log_format, configuration.secrets_and_keys, sys.stderr
        )
        self._name = secrets.token_hex(8)
        self._replicas = RayReplicas(replicas)
        self._states: Sequence[ReplicaState] = ()
        entrance = Entrance(configuration, self._name, redactor)
        self._stack = AsyncExitStack()
        self._service = await self._stack.enter_async_context(
            entrance.open(self._replicas, self._loaded, self._is_ready)
        )
        self._server = HttpServer(
            self._service,
            keys=entrance.keys,
            max_body=settings.max_body_bytes,
            request_timeout=settings.request_timeout,
            read_timeout=settings.read_timeout,
            max_connections=min(MOST_CONNECTIONS, raise_open_files() // 2),
            sites=Sites(settings.allowed_hosts, settings.cors_origins),
            recorder=entrance.recorder,
        )
        self._visiting = asyncio.create_task(self._visit())
        self._stack.push_async_callback(cancel, self._visiting)
        port = await self._listen()
        _log.info("listening on http://%s:%d", settings.host, port)

    async def check_health(self) -> None:
        """Ray replaces an ingress for which this raises."""
        if self._visiting.done():
            raise RuntimeError("this ingress no longer says that it lives: its log says why")

    async def __del__(self) -> None:
        """Ray awaits it. Requests in flight may end."""
        self._service.leaving = True
        await self._server.stop(self._settings.drain_timeout)
        await self._stack.aclose()

    async def _listen(self) -> int:
        settings = self._settings
        for left in range(int(_PORT_PATIENCE), -1, -1):
            try:
                return await self._server.start(
                    settings.host, settings.port, settings.port_health
                )
            except OSError as error:
                if not left:
                    _log.critical(
                        "can't listen on %s:%d: %s", settings.host, settings.port, error
                    )
                    raise
            await asyncio.sleep(1.0)
        raise AssertionError

    async def _visit(self) -> None:
        """Replicas end the requests of an ingress that they don't hear of."""
        raylet = Raylet()
        while True:
            raylet.check()
            try:
                self._states = await self._replicas.visit(self._name)
            except ReplicaLost as lost:
                _log.debug("no replica could be asked how it is: %s", lost)
            except Exception:
                _log.exception("a defect of the router")
                raise
            await asyncio.sleep(_LOOK)

    def _is_ready(self) -> bool:
        return any(state.ready for state in self._states)

    def _loaded(self) -> list[LoadedModel]:
        return [one for state in self._states for one in state.loaded]
