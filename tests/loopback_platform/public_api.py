"""RunPod's API for callers, in front of the loopback platform's queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from tests.loopback_platform import LoopbackPlatform, Outcome
from tests.loopback_platform.server import Server


class RunpodApi:
    """`/runsync` and `/openai/v1` of one endpoint, below `url`, for callers with `key`."""

    def __init__(self, platform: LoopbackPlatform, endpoint: str, key: str) -> None:
        self._platform, self._key = platform, key
        application = web.Application()
        application.router.add_post(f"/{endpoint}/runsync", self._runsync)
        application.router.add_post(f"/{endpoint}/openai/{{route:.*}}", self._openai)
        self._server = Server(application)
        self.url, self.stop = self._server.origin, self._server.stop

    async def _runsync(self, request: web.Request) -> web.Response:
        outcome = await self._run(request, (await request.json())["input"])
        return web.json_response({"status": outcome.status, "output": outcome.output})

    async def _openai(self, request: web.Request) -> web.Response:
        route, body = "/" + request.match_info["route"], await request.json()
        outcome = await self._run(request, {"openai_route": route, "openai_input": body})
        if outcome.error is not None:
            return web.json_response(json.loads(outcome.error), status=400)
        return web.Response(text="".join(outcome.output), content_type="text/event-stream")

    async def _run(self, request: web.Request, job_input: dict[str, Any]) -> Outcome:
        if request.headers["Authorization"] != f"Bearer {self._key}":
            raise web.HTTPUnauthorized
        job = self._platform.submit(job_input)
        return await asyncio.to_thread(job.wait, 30.0)
