"""Answers with server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from router.http.http_request import HttpRequest
from router.http.writing import AnswerWriter

_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx must not buffer the events
}


async def event_stream(request: HttpRequest, events: AsyncGenerator[bytes]) -> None:
    """Send events as they come. Raises an error that occurs before the first event."""
    async with aclosing(events):
        first = await anext(events)
        writer = AnswerWriter(request, 200, _STREAM)
        more = writer.write(first)
        async for event in events:
            if not more:
                await writer.drained()
            more = writer.write(event)
    writer.end()
