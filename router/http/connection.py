"""aiohttp's server, changed so that its errors and logs repeat nothing of a request."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from router.errors import HeadersTooLarge, InternalError, InvalidRequest, RouterError
from router.http.incoming import REQUEST_ID, new_request_id
from router.http.reading import Reading, hang_up, unread
from router.http.sites import ALWAYS
from router.requests.dialects import OPENAI, Dialect, Problem

logger = logging.getLogger("router.http")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_KEEP_ALIVE = 75.0  # seconds; also how long the headers of a request may take
HEADERS_KEY = web.RequestKey[Mapping[str, str]]("headers")  # that every answer has

_LOOKS = 8  # at what the other end has read, in the time that it has
# Seconds, and a number: a silent other end that is gone is noticed within a minute.
_KEEP_ALIVE_PROBES = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}

_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen


class QuietServer(web.Server):
    """Makes connections: not too many, and their errors repeat nothing of the request."""

    def __init__(self, handler: Handler, most_connections: int, read_timeout: float) -> None:
        self._most, self.read_timeout = most_connections, read_timeout
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
    """It ends when what it sends is not read, whatever it waits for meanwhile.

    Where nothing is under way, the kernel finds out that the other end is gone.
    """

    __slots__ = ("_patience", "_reading", "_timer", "gave_up")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(self._manager, QuietServer)  # noqa: S101 - it made this connection
        self.gave_up = False
        self._patience = self._manager.read_timeout
        self._reading = Reading(self._patience, self._loop.time())
        self._look_later()
        for option, seconds in _KEEP_ALIVE_PROBES.items():
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._patience / _LOOKS, self._look)

    def _look(self) -> None:
        if self.transport is None:
            return
        request, now = self._current_request, self._loop.time()
        sent = request.writer.output_size if request is not None else 0
        if not self._reading.has_stalled(now, sent, unread(self.transport)):
            self._look_later()
            return
        self.gave_up = True
        logger.info("an answer is not read: READ_TIMEOUT is over, the connection ends")
        hang_up(self.transport)

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


def was_given_up(request: web.BaseRequest) -> bool:
    """Whether its connection ended because the answer was not read."""
    connection = request.protocol
    return isinstance(connection, _QuietConnection) and connection.gave_up


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
