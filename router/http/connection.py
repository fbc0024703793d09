"""aiohttp's server, changed so that its errors and logs repeat nothing of a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from router.errors import HeadersTooLarge, InternalError, InvalidRequest, RouterError
from router.http.incoming import REQUEST_ID, new_request_id
from router.http.sites import ALWAYS
from router.requests.dialects import OPENAI, Dialect, Problem

logger = logging.getLogger("router.http")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEEP_ALIVE = 75.0  # seconds; also how long the headers of a request may take
HEADERS_KEY = web.RequestKey[Mapping[str, str]]("headers")  # that every answer has

_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen


class QuietServer(web.Server):
    """Makes connections: not too many, and their errors repeat nothing of the request."""

    def __init__(self, handler: Handler, most_connections: int) -> None:
        self._most = most_connections
        super().__init__(
            handler,
            handler_cancellation=True,  # off by default, and then callers leave unnoticed
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
        if not isinstance(exc, HttpProcessingError):
            logger.error("a defect of the router", exc_info=exc)
            defect = InternalError("The router failed on this request. Its log says why.")
            return error_response(Problem.of(defect), _headers(), OPENAI)
        logger.info("a request that is not valid HTTP (%s)", type(exc).__name__)
        # aiohttp counts headers as well as their bytes, and tells the one only by its text.
        too_large = isinstance(exc, LineTooLong) or "Too many headers" in str(exc)
        error: RouterError = (
            HeadersTooLarge("The request line or the headers are too long.")
            if too_large
            else InvalidRequest("This is not a valid HTTP request.")
        )
        response = error_response(Problem.of(error), _headers(), OPENAI)
        response.force_close()
        return response


def error_response(
    problem: Problem, headers: Mapping[str, str], dialect: Dialect, **more: str
) -> web.Response:
    return web.Response(
        status=problem.status,
        body=dialect.body(problem),
        headers={**problem.headers, **headers, **more},
    )


def _headers() -> Mapping[str, str]:
    """Of an answer to what is no request."""
    return {REQUEST_ID: new_request_id(), **ALWAYS}
