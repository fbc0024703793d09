"""A replica: one worker, with its pool and its engines, that takes requests from ingresses."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

from engines.interpreter import InterpreterCheck
from router import logs
from router.app.configuration import Configuration
from router.app.fleet.orphans import Orphans
from router.app.fleet.raylet import Raylet
from router.app.worker import Worker
from router.concealment import hide_memory
from router.config.platform import Platform
from router.errors import InternalError, RouterError
from router.ray.messages import (
    AnswerEnd,
    AnswerHead,
    Errand,
    Item,
    Receipt,
    Refused,
    ReplicaState,
    RoutePlan,
    joined,
)
from router.ray.warm_models import stats_of
from router.ray.window import SendWindow, SendWindows
from router.requests.dialects import Problem
from router.requests.record import Record
from router.requests.request import Request
from router.requests.service import Service
from router.side_process import pieces
from router.tasks import cancel

_log = logging.getLogger("router.ray")

_LOOK = 1.0  # seconds between two looks for orphans


class EngineReplica:
    """Ray Serve makes one for each GPU. All of its settings are its node's environment."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        """Raises `SettingsError`."""
        hide_memory()
        configuration = Configuration.read(os.environ, Platform.PLAIN)
        settings = self._settings = configuration.settings
        redactor = logs.configure(
            settings.log_level, settings.log_format, configuration.secrets_and_keys, sys.stderr
        )
        check = InterpreterCheck.begin(settings.engine_python, os.environ)
        found = await asyncio.to_thread(check.finish)
        self._worker = Worker(configuration.with_engines(found), redactor=redactor)
        self._orphans, self._windows = Orphans(time.monotonic), SendWindows()
        self._stack = AsyncExitStack()
        self._service: Service = await self._stack.enter_async_context(self._worker.open())
        running = self._worker.until_stopped(self._service)
        self._running = asyncio.create_task(running)
        self._stack.push_async_callback(cancel, asyncio.create_task(self._end_orphans()))

    async def respond(self, _: RoutePlan, errand: Errand, *body: bytes) -> AsyncIterator[Item]:
        """Answer one request. It raises nothing: Ray would log the traceback."""
        record = self._worker.recorder.open(
            errand.route, request_id=errand.request_id, trace=errand.trace
        )
        try:
            with (
                self._orphans.working_for(errand.ingress),
                self._windows.open(errand.answer) as window,
            ):
                async for item in self._answer(errand, body, record, window):
                    yield item
        except RouterError as error:
            problem = Problem.of(error)
            record.refuse(error.code, problem.status)
            yield Refused(problem, leaving=self._service.leaving)
        except Exception:  # noqa: BLE001 - whatever it is, the ingress hears of it
            _log.exception("a defect of the router")
            told = InternalError("The router failed on this request. Its log says why.")
            record.refuse(told.code, told.status)
            yield Refused(Problem.of(told))
        finally:
            self._worker.recorder.close(record)

    async def _answer(
        self, errand: Errand, body: tuple[bytes, ...], record: Record, window: SendWindow
    ) -> AsyncIterator[Item]:
        caller = self._worker.keys.labelled(errand.caller)
        record.is_from(caller, self._worker.keys.name(caller))
        request = Request(errand.route, joined(body), errand.hf_token, caller, record)
        del body
        async with self._service.open(request) as response:
            if response.failure is not None:
                record.answer(response.status, response.failure, streams=False)
                yield Refused(response.failure)
                return
            yield AnswerHead(response.status, dict(response.headers), response.streams)
            async for data in response:
                for piece in map(bytes, pieces(data)):
                    await window.room(piece)
                    yield piece
            record.answer(response.status, response.failure, streams=response.streams)
            yield AnswerEnd()

    async def took(self, receipt: Receipt) -> None:
        """An ingress says how much of an answer it has read: as much more may be sent."""
        self._windows.took(receipt.answer, receipt.taken)

    async def visit(self, ingress: str, read: Mapping[str, int]) -> ReplicaState:
        """An ingress says that it lives and how far answers were read, of this replica or of
        others, and asks what is loaded."""
        self._orphans.hear(ingress)
        for answer, taken in read.items():
            self._windows.took(answer, taken)
        return ReplicaState(self._service.ready, self._service.loaded())

    async def record_routing_stats(self) -> Mapping[str, object]:
        """Ray asks for it, and hands it to the request routers."""
        return stats_of(
            self._worker.report().report,
            capacity=self._settings.max_concurrency,
            most=self._settings.max_loaded_models,
        )

    async def check_health(self) -> None:
        """Ray replaces a replica for which this raises."""
        if self._running.done():
            raise RuntimeError("this worker, or its machine, is at fault: its log says why")

    async def __del__(self) -> None:
        """Ray awaits it once no request is left, or their time is over."""
        self._worker.leave()
        await self._running
        await self._worker.drain()
        await self._stack.aclose()

    async def _end_orphans(self) -> None:
        raylet = Raylet()
        while True:
            await asyncio.sleep(_LOOK)
            raylet.check()
            if ended := self._orphans.end():
                _log.warning("an ingress is gone: ended %d requests of it", ended)
