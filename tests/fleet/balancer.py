"""Plays RunPod's load balancer on loopback, with worker affinity as documented.

Each answer carries `X-Runpod-Worker-Id`. A request with that header goes to that worker. `ID`
is soft: another worker serves if that one is gone or full. `strict ID` allows no other worker.
Without the header, the worker is chosen at random. A worker that can't be reached is gone.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Self

from aiohttp import ClientConnectionError, ClientSession, web

WORKER = "X-Runpod-Worker-Id"
_PATIENCE = 90.0  # seconds
_OWN = {"host", "content-length", "transfer-encoding", "connection", "x-runpod-worker-id"}


class LoadBalancer:
    """`with LoadBalancer({id: url}, key) as balancer`: serves at `balancer.url`."""

    def __init__(self, workers: Mapping[str, str], key: str, capacity: int = 100) -> None:
        self.workers, self.capacity = dict(workers), capacity
        self.url = ""
        self.answered: list[str] = []  # the worker of each request
        self.in_flight: Counter[str] = Counter()
        self._key, self._rng = key, random.Random(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    async def _start(self) -> None:
        self._session = ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=30 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return web.Response(status=401)
        mode, _, wish = request.headers.get(WORKER, "").strip().rpartition(" ")
        body = await request.read()
        if mode == "strict" and wish not in self.workers:
            return web.json_response({"reason": "affinity_worker_gone"}, status=404)
        for worker in self._order(wish, strict=mode == "strict"):
            try:
                return await self._pass(request, body, worker)
            except ClientConnectionError:
                self.workers.pop(worker, None)  # its health checks fail too
        return web.Response(status=400, text="no workers available")

    def _order(self, wish: str, *, strict: bool) -> list[str]:
        free = [one for one in self.workers if self.in_flight[one] < self.capacity]
        self._rng.shuffle(free)
        if strict:
            return [wish]
        return sorted(free, key=lambda one: one != wish)

    async def _pass(self, request: web.Request, body: bytes, worker: str) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN}
        url = self.workers[worker] + request.path_qs
        self.in_flight[worker] += 1
        try:
            async with self._session.request(
                request.method, url, data=body, headers=headers
            ) as answer:
                own = {k: v for k, v in answer.headers.items() if k.lower() not in _OWN}
                response = web.StreamResponse(status=answer.status, headers=own)
                response.headers[WORKER] = worker
                self.answered.append(worker)
                await response.prepare(request)
                async for part in answer.content.iter_any():
                    await response.write(part)
                await response.write_eof()
                return response
        finally:
            self.in_flight[worker] -= 1
