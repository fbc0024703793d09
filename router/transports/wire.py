"""aiohttp's server, taught to keep what callers sent to itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from router.envelope import envelope, envelope_headers
from router.errors import BodyTooLarge, InvalidRequest, RouterError

logger = logging.getLogger("router.http")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEEP_ALIVE = 75.0  # seconds; also how long the headers of a request may take
_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen


class QuietServer(web.Server):
    """Makes connections whose errors repeat nothing of the request."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,  # off by default: callers who leave go unnoticed
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            access_log=None,  # aiohttp's prints query strings
            auto_decompress=False,
            logger=logger,
        )

    def __call__(self) -> RequestHandler:
        return _QuietConnection(self, loop=self._loop, **self._kwargs)


class _QuietConnection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what is not HTTP. aiohttp's own answer and log hold the start of the
        header at fault, which can be a token."""
        if isinstance(exc, ConnectionError):  # the caller left, or the answer broke off
            raise exc
        logger.info("a request that is not valid HTTP (%s)", type(exc).__name__)
        response = error_response(
            InvalidRequest("This is not a valid HTTP request, or a header of it is too long.")
        )
        response.force_close()
        return response


def error_response(error: RouterError, **headers: str) -> web.Response:
    return web.Response(
        status=error.status,
        body=envelope(error),
        headers={**envelope_headers(error), **headers},
    )


async def read_json_body(request: web.BaseRequest, limit: int, patience: float) -> bytes:
    """The whole body, at most `limit` bytes, within `patience` seconds.

    Raises `InvalidRequest` and `BodyTooLarge`. Asking for JSON by name keeps out the web
    pages that post to a loopback port without asking first.
    """
    if request.content_type != "application/json":
        raise InvalidRequest("Send the body as JSON, with `Content-Type: application/json`.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InvalidRequest("Send the body uncompressed.")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise InvalidRequest(f"The body did not arrive within {patience:g} s.") from None
    except RequestPayloadError:
        raise InvalidRequest("The body broke off, or its chunks are malformed.") from None
    return b"".join(chunks)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is too large: at most {limit} bytes.")
