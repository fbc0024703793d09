"""A real Chromium without a window, controlled over its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.eventually import eventually

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))),
    None,
)
ELSEWHERE = ("evil.example", "app.example")  # names that DNS rebinding points at this machine
_FLAGS = (
    "--headless",
    "--no-sandbox",  # root can't use the sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--host-resolver-rules=" + ", ".join(f"MAP {name} 127.0.0.1" for name in ELSEWHERE),
)
_PATIENCE = 90.0  # seconds, enough for the busiest machine

Json = dict[str, Any]


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, count()
        self._session: str | None = None
        self._events: list[str] = []

    async def open(self, url: str) -> None:
        """Open a page, whatever its status, and wait until it has loaded."""
        if self._session is None:
            target = (await self._call("Target.createTarget", url="about:blank"))["targetId"]
            attached = await self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            await self._call("Page.enable")
        self._events.clear()
        told = await self._call("Page.navigate", url=url)
        assert "errorText" not in told, told
        while "Page.loadEventFired" not in self._events:
            await self._receive()

    async def run(self, body: str) -> Any:
        """Run an async function with this body in the page, and return its result as JSON."""
        told = await self._call(
            "Runtime.evaluate",
            expression=f"(async () => {{ {body} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def _call(self, method: str, **parameters: object) -> Json:
        number = next(self._numbers)
        message: Json = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        while True:
            told = await self._receive()
            if told.get("id") == number:
                assert "error" not in told, told
                result: Json = told["result"]
                return result

    async def _receive(self) -> Json:
        told: Json = json.loads(await self._socket.receive_str(timeout=_PATIENCE))
        self._events.append(told.get("method", ""))
        return told


def _started(profile: Path) -> subprocess.Popen[bytes]:
    assert PROGRAM is not None
    return subprocess.Popen(
        (PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Page]:
    process = _started(profile)
    told = profile / "DevToolsActivePort"  # a line with the port, and a line with the path
    try:
        await eventually(lambda: told.exists() and told.read_text().count("\n"), _PATIENCE)
        port, path = told.read_text().split()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
        ):
            yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def other_site() -> AsyncIterator[int]:
    """Serve an empty page. Yields the web server's port."""

    async def page(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<!doctype html><title>x</title>", content_type="text/html")

    server = web.Server(page)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(1.0)
