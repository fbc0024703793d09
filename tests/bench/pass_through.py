"""`python -m tests.bench.pass_through PORT UPSTREAM`: the simplest aiohttp proxy.

It sends each request to UPSTREAM and streams the bytes back. It has no models, tokens, limits
or timeouts: a router's cost above this is its own work.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import aiohttp
import uvloop
from aiohttp import web

_KEPT = ("Content-Type", "Content-Length")


async def serve(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def relay(request: web.BaseRequest) -> web.StreamResponse:
            async with session.request(
                request.method,
                f"http://{upstream}{request.path}",
                data=await request.read(),
                headers={"Content-Type": "application/json"},
            ) as answer:
                kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
                response = web.StreamResponse(status=answer.status, headers=kept)
                with suppress(ConnectionResetError):  # the caller left
                    await response.prepare(request)
                    async for data in answer.content.iter_any():
                        await response.write(data)
                    await response.write_eof()
                return response

        server = await asyncio.get_running_loop().create_server(
            web.Server(relay, access_log=None), "127.0.0.1", port, backlog=1024
        )
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
