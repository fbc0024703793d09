"""A replica: one worker with a pool and engines that takes requests from ingresses."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing

from ray import serve

from engines.interpreter import InterpreterCheck
from router import logs
from router.app.configuration import Configuration
from router.app.fleet.file_watch import FileWatch
from router.app.fleet.raylet import Raylet
from router.app.worker import Worker
from router.concealment import hide_memory
from router.config.platform import Platform
from router.ray.answers import Answers
from router.ray.messages import Errand, Item, Look, Receipt, ReplicaState, RoutePlan, Shown
from router.ray.warm_models import number, stats_of
from router.requests.service import Service
from router.side_process import pieces
from router.tasks import cancel

_log = logging.getLogger("router.ray")

_LOOK = 1.0  # seconds between two checks for orphans


class EngineReplica:
    """Ray Serve makes one for each GPU. It reads all settings from its node's environment."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        """Raises `SettingsError`."""
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        hide_memory()
        configuration = Configuration.read(os.environ, Platform.PLAIN)
        self._files = FileWatch(configuration.sources, self._reload)
        settings = self._settings = configuration.settings
        redactor = logs.configure(
            settings.log_level, settings.log_format, configuration.secrets_and_keys, sys.stderr
        )
        check = InterpreterCheck.begin(settings.engine_python, os.environ)
        found = await asyncio.to_thread(check.finish)
        self._worker = Worker(configuration.with_engines(found), redactor=redactor)
        self._service: Service = await self._stack.enter_async_context(self._worker.open())
        self._name: str = serve.get_replica_context().replica_id.unique_id
        self._answers = Answers(self._service, self._worker.keys, self._worker.recorder)
        running = self._worker.until_stopped(self._service)
        self._running = asyncio.create_task(running)
        for work in (self._end_orphans(), self._files.watch()):
            self._stack.push_async_callback(cancel, asyncio.create_task(work))

    async def respond(self, _: RoutePlan, errand: Errand, *body: bytes) -> AsyncIterator[Item]:
        """Answer one request."""
        async with aclosing(self._answers.to(errand, body)) as items:
            async for item in items:
                yield item

    async def took(self, receipt: Receipt) -> None:
        """Note how much of an answer an ingress has read."""
        self._answers.took(receipt.answer, receipt.taken)

    async def visit(self, ingress: str, read: Mapping[str, int]) -> ReplicaState:
        """Note that an ingress is alive, and how much it has read. Returns the state."""
        self._answers.visited(ingress, read)
        stats = await self.record_routing_stats()
        return ReplicaState(
            self._service.ready,
            self._service.loaded(),
            self._name,
            number(stats, "in_flight"),
            number(stats, "waiting"),
        )

    async def shown(self, look: Look) -> AsyncIterator[bytes]:
        """The state or the metrics, for the operator. Empty if `look` is for another replica,
        which is then gone."""
        if look.replica != self._name:
            return
        try:
            metrics = look.at is Shown.METRICS
            found = await (
                self._worker.exposition.text() if metrics else self._worker.admin.state()
            )
        except Exception:  # noqa: BLE001 - Ray would log the traceback, with whatever it holds
            _log.exception("a defect of the router")
            return
        for piece in pieces(found):
            yield bytes(piece)

    async def record_routing_stats(self) -> Mapping[str, object]:
        """Ray calls this and passes the result to the request routers."""
        return stats_of(
            self._worker.report().report,
            capacity=self._settings.max_concurrency,
            most=self._settings.max_loaded_models,
        )

    async def check_health(self) -> None:
        """If this raises, Ray replaces the replica."""
        if self._running is None or self._running.done():
            raise RuntimeError("this worker, or its machine, is at fault: its log says why")

    async def __del__(self) -> None:
        """Ray awaits this when no request is left or their time is over, and even if the
        replica could not start."""
        if self._running is not None:
            self._worker.leave()
            await self._running
            await self._worker.drain()
        await self._stack.aclose()

    async def _reload(self) -> None:
        await self._worker.admin.hang_up()

    async def _end_orphans(self) -> None:
        raylet = Raylet()
        while True:
            await asyncio.sleep(_LOOK)
            raylet.check()
            self._answers.end_orphans()
