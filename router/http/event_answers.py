"""Server-sent events as an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from router.http.connection import HEADERS_KEY

_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each event on at once
}


async def event_stream(
    request: web.BaseRequest, events: AsyncGenerator[bytes]
) -> web.StreamResponse:
    """Send events as they come. An error before the first has a response of its own."""
    async with aclosing(events):
        first = await anext(events)
        response = web.StreamResponse(headers=_STREAM)
        response.headers.update(request[HEADERS_KEY])
        await response.prepare(request)
        await response.write(first)
        async for event in events:
            await response.write(event)
    await response.write_eof()
    return response
