"""The router's own server with a made-up worker behind it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files

import orjson

from router.http.admin_routes import AdminRoutes
from router.http.page_routes import PageRoutes, read_page
from router.http.past_routes import PastRoutes
from router.http.server import HttpServer
from router.scheduler.report import EngineReport
from tests.fake_service import FakeService
from tests.page.made_up import EVERYTHING, MadeUp

LOG = (
    "server_args=ServerArgs(model_path='/models', context_length=32768)",
    "Load weight begin. avail mem=48.21 GB",
    "Load weight end. elapsed=7.92 s, mem usage=15.27 GB.",
    "KV Cache is allocated. #tokens: 32768, K size: 2.25 GB, V size: 2.25 GB",
    "The server is fired up and ready to roll!",
)


class PretendedWorker:
    """Implements the worker for the operator's routes. `told`: the commands it received."""

    def __init__(self, engines: Sequence[EngineReport]) -> None:
        self._made_up = MadeUp(time.time(), engines)
        self.told: list[str] = []

    async def state(self) -> bytes:
        return orjson.dumps(self._made_up.state())

    async def events(self) -> AsyncGenerator[bytes]:
        yield b"event: state\ndata: %b\n\n" % await self.state()
        await asyncio.Event().wait()

    async def load(self, name: str, *, wait: bool) -> bytes:
        return self._do(f"load {name}")

    def unload(self, name: str) -> bytes:
        return self._do(f"unload {name}")

    def pin(self, name: str) -> bytes:
        return self._do(f"pin {name}")

    def unpin(self, name: str) -> bytes:
        return self._do(f"unpin {name}")

    async def reload(self) -> bytes:
        return self._do("reload")

    def known(self, name: str) -> str:
        return ""

    def drain(self) -> None:
        self._do("drain")

    async def journal(self) -> bytes:
        return orjson.dumps(self._made_up.journal())

    def activity(self) -> bytes:
        return orjson.dumps(self._made_up.activity())

    def log(self, name: str) -> bytes:
        return orjson.dumps({"lines": LOG})

    async def follow_log(self, name: str) -> AsyncGenerator[bytes]:
        yield b"event: lines\ndata: %b\n\n" % self.log(name)
        await asyncio.Event().wait()

    def _do(self, what: str) -> bytes:
        self.told.append(what)
        return b'{"engines": []}'


@contextmanager
def pretending(
    engines: Sequence[EngineReport] = EVERYTHING,
) -> Iterator[tuple[str, PretendedWorker]]:
    """A server's address with these engines, and the worker that it pretends to be."""
    worker, loop = PretendedWorker(engines), asyncio.new_event_loop()
    page = PageRoutes(read_page(files("router.admin") / "page"))
    server = HttpServer(FakeService(), operator=(PastRoutes(worker), AdminRoutes(worker), page))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0), loop)
        yield f"http://127.0.0.1:{started.result(90)}", worker
        asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result(90)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
