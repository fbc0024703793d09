"""One answer on its way out over HTTP, sent as it comes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable

from aiohttp import web

from router.errors import InternalError, RouterError
from router.requests.error_body import sse_error
from router.requests.response import Body, Head, Part, Progress

logger = logging.getLogger("router.http")

# Proxies and clients give up on a silent connection after 15 to 60 s; who waits less for
# a stream gets its head, and with it the status, from the engine.
_SILENCE = 10.0  # seconds
_SSE = Head(200, {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})


class Reply:
    """Renders the service's parts. A failure before the head is raised, for an envelope;
    a later one is told in-band, where that can be done."""

    def __init__(self, request: web.BaseRequest, clock: Callable[[], float]) -> None:
        self._request, self._clock = request, clock
        self._began = clock()
        self._response: web.StreamResponse | None = None
        self._told_early = False  # a stream began before the engine's head was known
        self._refusal: bytes | None = None  # of the engine's, after such a beginning
        self._end = b"\n\n"  # the last bytes that were sent

    async def send(self, parts: AsyncGenerator[Part, None]) -> web.StreamResponse:
        """Send everything, and return the finished response."""
        failure: RouterError | None = None
        try:
            async for part in parts:
                await self._send(part)
        except RouterError as error:
            failure = error
        except ConnectionError:
            raise  # the caller left
        except Exception as error:
            if self._response is None:
                raise
            failure = unexpected(error)
        response = self._response
        if response is None:
            raise failure or InternalError("The request ended without an answer.")
        if self._refusal is not None:
            await response.write(b"data: " + self._refusal + b"\n\ndata: [DONE]\n\n")
        if failure is not None:
            await self._tell(response, failure)
        await response.write_eof()
        return response

    async def _send(self, part: Part) -> None:
        match part:
            case Progress():
                if part.stream and self._clock() - self._began >= _SILENCE:
                    response = self._response or await self._prepare(_SSE)
                    self._told_early = True
                    await response.write(f": {part}\n\n".encode())
            case Head():
                if not self._told_early:
                    await self._prepare(part)
                elif part.status >= 400:
                    self._refusal = b""
            case Body(data) if self._refusal is not None:
                self._refusal += data
            case Body(data) if self._response is not None:
                await self._response.write(data)
                self._end = (self._end + data)[-4:]

    async def _prepare(self, head: Head) -> web.StreamResponse:
        self._response = web.StreamResponse(status=head.status, headers=head.headers)
        await self._response.prepare(self._request)
        return self._response

    async def _tell(self, response: web.StreamResponse, failure: RouterError) -> None:
        """In a stream of events, say it; anything else can only visibly break off."""
        if response.content_type != "text/event-stream":
            logger.warning("an answer broke off: %s", failure.code)
            raise ConnectionResetError(f"the answer broke off: {failure.code}")
        if not self._end.endswith((b"\n\n", b"\r\n\r\n")):
            await response.write(b"\n\n")
        await response.write(sse_error(failure))


def unexpected(error: Exception) -> InternalError:
    """Log a defect, and give what a caller may be told of it."""
    logger.error("a defect of the router", exc_info=error)
    return InternalError("The router failed on this request. Its log says why.")
