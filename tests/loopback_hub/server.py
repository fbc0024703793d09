"""Serves applications over TLS, in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web


class Server:
    """One thread for several origins. It accepts connections as soon as it exists."""

    def __init__(self, tls: ssl.SSLContext, applications: Sequence[web.Application]) -> None:
        self._tls = tls
        self._sites = [(app, socket.create_server(("127.0.0.1", 0))) for app in applications]
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._own_files = self._files()
        self._leave = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="loopback-hub", daemon=True)
        self._thread.start()

    @property
    def origins(self) -> list[str]:
        """Base URLs, in the order of the applications."""
        return [f"https://localhost:{site.getsockname()[1]}" for _, site in self._sites]

    def stop(self) -> None:
        """Cut off running answers, and wait until the thread has ended."""
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
                # A handler ends when its client leaves, because a fault may make it hang
                # forever.
                runner = web.AppRunner(
                    app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
                )
                runners.append(runner)
                await runner.setup()
                await web.SockSite(runner, listener, ssl_context=self._tls).start()
            await self._leave.wait()
        finally:
            for _, listener in self._sites:
                self._loop.remove_reader(listener)
            # On closing, asyncio loses connections that it has accepted but not started.
            await asyncio.sleep(0)
            for runner in runners:
                await runner.cleanup()
            await self._hang_up()

    async def _hang_up(self) -> None:
        """Close the connections that no runner knows: those in a TLS handshake, and those that
        wait for the client's close_notify."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        while (left := self._files() - self._own_files) or not all(t.done() for t in others):
            for file in left:
                with socket.socket(fileno=os.dup(file)) as connection, suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0.001)
        for _ in range(3):  # a transport closes its socket one turn of the loop later
            await asyncio.sleep(0)

    def _files(self) -> set[int]:
        return {key.fd for key in self._selector.get_map().values()}
