"""The platform's API for callers, in front of the queue: `https://api.runpod.ai/v2`.

Routes and fields are from the platform's public documentation.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any

from aiohttp import web

from tests.loopback_platform.jobs import PATIENCE, Job, Outcome
from tests.loopback_platform.platform import LoopbackPlatform
from tests.loopback_platform.server import Server

_COUNTED = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "IN_PROGRESS": "inProgress",
    "IN_QUEUE": "inQueue",
}


class PublicApi:
    """One endpoint below `url`, for callers with `key`."""

    def __init__(self, platform: LoopbackPlatform, endpoint: str, key: str) -> None:
        self._platform, self._key = platform, key
        self._jobs: dict[str, Job] = {}
        self._read: defaultdict[str, int] = defaultdict(int)  # chunks already read, by job
        self._server = Server(self._application(endpoint))
        self.url, self.stop = self._server.origin, self._server.stop

    def _application(self, endpoint: str) -> web.Application:
        application = web.Application(middlewares=[self._gate])
        router = application.router
        router.add_post(f"/{endpoint}/run", self._run)
        router.add_post(f"/{endpoint}/runsync", self._run_and_wait)
        router.add_get(f"/{endpoint}/status/{{job}}", self._status)
        router.add_get(f"/{endpoint}/stream/{{job}}", self._stream)
        router.add_post(f"/{endpoint}/cancel/{{job}}", self._cancel)
        router.add_get(f"/{endpoint}/health", self._health)
        router.add_post(f"/{endpoint}/openai/{{route:.*}}", self._openai)
        return application

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            raise web.HTTPUnauthorized
        response: web.StreamResponse = await handler(request)
        return response

    async def _run(self, request: web.Request) -> web.Response:
        job = await self._submit(request)
        return web.json_response({"id": job.id, "status": "IN_QUEUE"})

    async def _run_and_wait(self, request: web.Request) -> web.Response:
        job = await self._submit(request, synchronous=True)
        await asyncio.to_thread(job.wait, PATIENCE)
        return web.json_response(_state(job))

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(_state(self._job(request)))

    async def _stream(self, request: web.Request) -> web.Response:
        """The parts streamed since the last call."""
        job = self._job(request)
        state, outputs = _state(job), job.outputs
        news = outputs[self._read[job.id] :]
        self._read[job.id] = len(outputs)
        stream = [{"output": output} for output in news]
        return web.json_response({"status": state["status"], "stream": stream})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._job(request)
        self._platform.cancel(job)
        await asyncio.to_thread(job.wait, PATIENCE)
        return web.json_response(_state(job))

    async def _health(self, _: web.Request) -> web.Response:
        states = Counter(_state(job)["status"] for job in self._jobs.values())
        jobs = {name: states[status] for status, name in _COUNTED.items()}
        return web.json_response({"jobs": {**jobs, "retried": 0}, "workers": {"ready": 1}})

    async def _openai(self, request: web.Request) -> web.Response:
        route, body = "/" + request.match_info["route"], await request.json()
        job = self._platform.submit({"openai_route": route, "openai_input": body})
        outcome: Outcome = await asyncio.to_thread(job.wait, PATIENCE)
        if outcome.error is not None:
            return web.json_response(json.loads(outcome.error), status=400)
        return web.Response(text="".join(outcome.output), content_type="text/event-stream")

    async def _submit(self, request: web.Request, *, synchronous: bool = False) -> Job:
        content = await request.json()
        job = self._platform.submit(content["input"], synchronous=synchronous)
        self._jobs[job.id] = job
        return job

    def _job(self, request: web.Request) -> Job:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            raise web.HTTPNotFound
        return job


def _state(job: Job) -> dict[str, Any]:
    """A caller's view of a job. While it runs, its output is its latest progress."""
    state: dict[str, Any] = {"id": job.id}
    if (outcome := job.outcome) is None:
        status = "IN_PROGRESS" if job.taken.is_set() else "IN_QUEUE"
        progress = {"output": job.progress[-1].output} if job.progress else {}
        return {**state, "status": status, **progress}
    told = {"output": outcome.output, "error": outcome.error}
    return {
        **state,
        "status": outcome.status,
        **{name: value for name, value in told.items() if value is not None},
    }
