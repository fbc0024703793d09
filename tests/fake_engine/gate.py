"""The gate where SGLang waits before it loads, if configured."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from tests.fake_engine.behaviour import Behaviour, Journal
from tests.fake_engine.wire import Connection, Reply, Request


class Gate:
    """Like the real gate, it answers only requests with the key."""

    def __init__(
        self, behaviour: Behaviour, journal: Journal, listener: socket.socket, key: str
    ) -> None:
        self._behaviour, self._journal, self._listener = behaviour, journal, listener
        self._expected = f"Bearer {key}"
        self._opened = asyncio.Event()

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self._handle, lambda _request, _reply: None),
            sock=self._listener,
        )
        self._journal.write("gate")
        print("Gated launch waiting for activation. rank=0", flush=True)
        # The real gate prints this every ten seconds.
        print("Gated launch still waiting for activation. rank=0 elapsed=10 s", flush=True)
        if self._behaviour.die_at_gate is not None:
            loop.call_later(self._behaviour.die_at_gate, os.kill, os.getpid(), signal.SIGKILL)
        await self._opened.wait()
        self._journal.write("activated")
        server.close()

    async def _handle(self, request: Request, reply: Reply) -> None:
        given = request.headers.get("authorization")
        if given != self._expected and not self._behaviour.gate_without_lock:
            reply.whole(403)
        elif (request.method, request.path) == ("GET", "/health"):
            reply.whole(200)
        elif (request.method, request.path) != ("POST", "/gate/activate"):
            reply.whole(404, {"detail": "Not Found"})
        elif self._behaviour.gate_refuses:
            reply.whole(500)
        else:
            reply.whole(200)
            if not self._behaviour.gate_jams:
                self._opened.set()
