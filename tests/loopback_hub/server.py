"""Serves applications over TLS, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence

from aiohttp import web


class Server:
    """One thread for several origins. It accepts connections as soon as it is made."""

    def __init__(self, tls: ssl.SSLContext, applications: Sequence[web.Application]) -> None:
        self._tls = tls
        self._sites = [(app, socket.create_server(("127.0.0.1", 0))) for app in applications]
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="loopback-hub", daemon=True)
        self._thread.start()

    @property
    def origins(self) -> list[str]:
        """Base URLs, in the order of the applications."""
        return [f"https://localhost:{site.getsockname()[1]}" for _, site in self._sites]

    def stop(self) -> None:
        """Break off what is being answered, and wait until the thread has ended."""
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        runners: list[web.AppRunner] = []
        try:
            for app, listener in self._sites:
                # A handler whose client has gone ends: a fault may let it hang for ever.
                runner = web.AppRunner(
                    app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
                )
                runners.append(runner)
                await runner.setup()
                await web.SockSite(runner, listener, ssl_context=self._tls).start()
            await self._leave.wait()
        finally:
            for runner in runners:
                _abort_connections(runner)
                await runner.cleanup()


def _abort_connections(runner: web.AppRunner) -> None:
    # Closing politely would wait for each client's TLS close_notify, which may never come.
    for connection in runner.server.connections if runner.server else []:
        if connection.transport is not None:
            connection.transport.abort()
