"""aiohttp's server, taught to keep what callers sent to itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from router.errors import InvalidRequest, RouterError
from router.requests.error_body import envelope, envelope_headers

logger = logging.getLogger("router.http")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEEP_ALIVE = 75.0  # seconds; also how long the headers of a request may take
_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen


class QuietServer(web.Server):
    """Makes connections whose errors repeat nothing of the request, and not too many."""

    def __init__(self, handler: Handler, most_connections: int) -> None:
        self._most = most_connections
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

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            self._make_room()

    def _make_room(self) -> None:
        """Hang up the oldest connection that is in no request: at worst the new one."""
        for connection in self.connections:
            if isinstance(connection, _QuietConnection) and connection.is_idle:
                connection.force_close()
                return


class _QuietConnection(RequestHandler):
    __slots__ = ()

    @property
    def is_idle(self) -> bool:
        return not (self._current_request or self._messages or self._force_close)

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
