"""An ingress: the router's own HTTP server, in front of replicas."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack
from typing import Any

from router import logs
from router.app.configuration import Configuration
from router.app.fleet.front import Front
from router.concealment import hide_memory
from router.config.platform import Platform
from router.ray.handle import RayReplicas


class Ingress:
    """Ray Serve makes at most one on each node. It listens at HOST and PORT itself, so that
    no other server stands in front of its HTTP server."""

    async def __init__(self, replicas: Any) -> None:  # type: ignore[misc]  # noqa: ANN401
        """`replicas` is a Ray handle. Raises `SettingsError`, and `OSError` if it can't
        listen."""
        self._stack = AsyncExitStack()
        hide_memory()
        configuration = Configuration.read(os.environ, Platform.PLAIN)
        settings = configuration.settings
        redactor = logs.configure(
            settings.log_level, settings.log_format, configuration.secrets_and_keys, sys.stderr
        )
        self._front = Front(configuration, RayReplicas(replicas), redactor)
        await self._stack.enter_async_context(self._front.open())

    async def check_health(self) -> None:
        """If this raises, Ray replaces the ingress."""
        if not self._front.is_seen:
            raise RuntimeError("this ingress no longer visits the replicas: its log says why")

    async def __del__(self) -> None:
        """Ray awaits this, even if the ingress could not start."""
        await self._stack.aclose()
