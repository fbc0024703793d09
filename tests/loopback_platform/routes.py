"""The platform's side of the SDK's protocol (`runpod.serverless`, 1.12.0).

The limits, and the platform's reactions, are from its public documentation.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.loopback_platform.jobs import Chunk, Job
from tests.loopback_platform.poll import Line
from tests.loopback_platform.records import Ping, Take

# Bytes of one POST. A larger one is answered with 400, and the job continues.
STREAM_LIMIT = 1_000_000
OUTPUT_LIMIT = 10_000_000
SYNCHRONOUS_OUTPUT_LIMIT = 20_000_000
SYNCHRONOUS = "sync-"  # prefix of the ids from /runsync
BREAK_OFF = 0  # instead of a status: the connection breaks


class Routes:
    """Everything except the constructor belongs to the server's loop."""

    def __init__(self, endpoint: str, api_key: str, poll: float) -> None:
        self._prefix = f"/v2/{endpoint}"
        self._api_key = api_key
        self._poll = poll
        self.jobs: dict[str, Job] = {}
        self.takes: list[Take] = []
        self.pings: list[Ping] = []
        self.faults: defaultdict[str, deque[int]] = defaultdict(deque)  # by route
        self._waiting: Line[Job] = Line()
        self._stops: Line[str] = Line()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._gate], client_max_size=1 << 30)
        app.router.add_get(self._prefix + "/job-take/{worker}", self.take)
        app.router.add_get(self._prefix + "/job-take-batch/{worker}", self.take)
        app.router.add_get(self._prefix + "/job-stop/{worker}", self.stop)
        app.router.add_post(self._prefix + "/job-stream/{worker}/{job}", self.stream)
        app.router.add_post(self._prefix + "/job-done/{worker}/{job}", self.done)
        app.router.add_get(self._prefix + "/ping/{worker}", self.ping)
        return app

    def enqueue(self, job: Job) -> None:
        self.jobs[job.id] = job
        self._waiting.put(job)

    def cancel(self, job: Job) -> None:
        """Forget the job if no worker has it; otherwise tell the worker. Ended jobs stay
        ended."""
        if job.outcome is not None:
            return
        job.end("CANCELLED")
        if not self._waiting.withdraw(job):
            self._stops.put(job.id)

    async def take(self, request: web.Request) -> web.Response:
        """One job as an object, or up to `batch_size` as a list; 204 if there are none."""
        batch = request.query.get("batch_size")
        wanted = int(batch or 1)
        jobs = await self._waiting.take(wanted, self._poll)
        busy = request.query["job_in_progress"] == "1"
        ids = tuple(job.id for job in jobs)
        self.takes.append(Take(time.monotonic(), wanted, busy, ids))
        for job in jobs:
            job.taken.set()
        if not jobs:
            return web.Response(status=204)
        given = [{"id": job.id, "input": job.input} for job in jobs]
        return web.json_response(given if batch else given[0])

    async def stop(self, _: web.Request) -> web.Response:
        """The ids of canceled jobs; 204 if there are none."""
        ids = await self._stops.take(len(self.jobs) + 1, self._poll)
        return web.json_response({"jobsToStop": ids}) if ids else web.Response(status=204)

    async def stream(self, request: web.Request) -> web.Response:
        job, posted = await self._read(request, STREAM_LIMIT)
        if job.stream_holds:
            await job.stream_holds.popleft().hang()
        job.chunks.append(_chunk(posted))
        return web.json_response({})

    async def done(self, request: web.Request) -> web.Response:
        """A job's end or its progress: both use the same address."""
        synchronous = request.match_info["job"].startswith(SYNCHRONOUS)
        limit = SYNCHRONOUS_OUTPUT_LIMIT if synchronous else OUTPUT_LIMIT
        job, posted = await self._read(request, limit)
        if job.output_holds:
            await job.output_holds.popleft().hang()
        if posted.get("status") == "IN_PROGRESS":
            job.progress.append(_chunk(posted))
        else:
            job.finals.append(posted)
            job.end("FAILED" if "error" in posted else "COMPLETED", posted)
        return web.json_response({})

    async def ping(self, request: web.Request) -> web.Response:
        ids = request.query.get("job_id")
        status, reason = request.query.get("status"), request.query.get("reason")
        busy_with = tuple(ids.split(",")) if ids else ()
        self.pings.append(Ping(time.monotonic(), busy_with, status, reason))
        return web.json_response({})

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # The key is sent without "Bearer".
        if request.headers.get("Authorization") != self._api_key:
            raise web.HTTPUnauthorized
        route = request.path.removeprefix(self._prefix + "/").partition("/")[0]
        if faults := self.faults[route]:
            return _fail(request, faults.popleft())
        return await handler(request)

    async def _read(self, request: web.Request, limit: int) -> tuple[Job, dict[str, Any]]:
        """A POST's job and body. The body is JSON, whatever its content type."""
        job = self.jobs.get(request.match_info["job"])
        if job is None:
            raise web.HTTPNotFound
        body = await request.read()
        if len(body) > limit:
            job.refused.append(len(body))
            raise web.HTTPBadRequest(text=f"{len(body)} bytes, of {limit}")
        try:
            return job, json.loads(body, parse_constant=_refuse)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error


def _chunk(posted: dict[str, Any]) -> Chunk:
    return Chunk(time.monotonic(), posted.get("output"))


def _fail(request: web.Request, status: int) -> web.Response:
    if status == BREAK_OFF and request.transport is not None:
        request.transport.abort()
    return web.Response(status=status or 500)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
