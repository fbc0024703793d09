"""Serves an application in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import socket
import threading

from aiohttp import web


class Server:
    """Accepts connections on an ephemeral port as soon as it exists."""

    def __init__(self, application: web.Application) -> None:
        self._application = application
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="loopback-platform", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cut off running answers, and wait until the thread has ended."""
        self.loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        # A handler ends when its client leaves; otherwise, polls and held POSTs would keep
        # hanging.
        runner = web.AppRunner(
            self._application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, self._listener).start()
            await self._leave.wait()
        finally:
            await runner.cleanup()
