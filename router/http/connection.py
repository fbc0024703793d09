"""One connection of a caller: its requests in turn, and their answers.

Each request has a task, which ends with the connection. What a caller sends ahead waits here up
to a bound, and is not looked at before the request before it is answered.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Protocol, cast

from router.errors import InternalError, RouterError
from router.http.answers import Handler, HttpAnswer, error_answer
from router.http.http_request import HttpRequest
from router.http.incoming import REQUEST_ID, new_request_id
from router.http.reading import Reading, hang_up, has_left, unread
from router.http.request_head import RequestHead, end_of_head
from router.http.sites import ALWAYS
from router.http.writing import send_whole
from router.requests.dialects import OPENAI, Problem

logger = logging.getLogger("router.http")

_KEEP_ALIVE = 75.0  # seconds; also how long the headers of a request may take
_LOOKS = 8  # at what the other end has read, in the time that it has
_MOST_KEPT = 128 * 1024  # bytes of a body that is not read, and of what is sent ahead
_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen
# Seconds, and a number: a silent other end that is gone is noticed within a minute.
_PROBES = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 30,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
}


class ConnectionOwner(Protocol):
    """What a connection asks of its server.

    `read_timeout`: seconds in which a caller has to read some of its answer; `longest`: seconds
    for a whole request. `leaving`: no further request is taken.
    """

    handler: Handler
    read_timeout: float
    longest: float
    leaving: bool

    def add(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def stamp(self) -> str: ...


class Connection(asyncio.Protocol):
    """It ends when what it sends is not read, whatever it waits for meanwhile.

    Where nothing is under way, the kernel finds out that the other end is gone.
    """

    __slots__ = (
        "_drained",
        "_held_back",
        "_lingering",
        "_loop",
        "_owner",
        "_reading",
        "_received",
        "_request",
        "_seen",
        "_sent",
        "_since",
        "_task",
        "_timer",
        "_transport",
        "gave_up",
        "paused",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner, self._loop = owner, asyncio.get_running_loop()
        self._received, self._seen = b"", 0  # not parsed yet, and so much looked at in vain
        self._request: HttpRequest | None = None  # in progress
        self._task: asyncio.Task[None] | None = None  # that answers it
        self._drained: asyncio.Future[None] | None = None
        self._sent = 0  # bytes, of all answers
        self._held_back = False
        self._lingering: asyncio.TimerHandle | None = None  # ends it
        self.paused = self.gave_up = False

    @property
    def is_idle(self) -> bool:
        return self.is_spare and self._lingering is None

    @property
    def is_spare(self) -> bool:
        """It is in no request; at most it waits for its caller to see a refusal."""
        return not (self._task or self._transport.is_closing())

    @property
    def ends(self) -> bool:
        return self._owner.leaving

    @property
    def over(self) -> bool:
        return self._transport.is_closing()

    def leave(self) -> None:
        """End it as soon as its request is answered."""
        if self.is_idle:
            self.close()

    def close(self) -> None:
        """End it, once what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # --- the transport's calls -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        for (level, option), value in _PROBES.items():
            transport.get_extra_info("socket").setsockopt(level, option, value)
        self._since = self._loop.time()  # of the request, or that there is none
        self._reading = Reading(self._owner.read_timeout, self._since)
        self._look_later()
        self._owner.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()
        if self._lingering is not None:
            self._lingering.cancel()
        self._received = b""
        if self._task is not None:
            self._task.cancel()
        self._owner.forget(self)

    def eof_received(self) -> None:
        """A caller that closes its half has left."""
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        if self._request is not None:
            data = self._request.body.feed(data)
            if self._request.body.waiting > _MOST_KEPT:
                self._hold_back()
        if data:
            self._received += data
            if self._request is None:
                self._begin()
            elif len(self._received) > _MOST_KEPT:
                self._hold_back()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- one request after the other -------------------------------------------------

    def _begin(self) -> None:
        """Begin with the next request, if its head is there."""
        data = self._received
        if data[0] < 32:
            data = data.lstrip(b"\r\n")  # as old clients send behind a body
        try:
            end = end_of_head(data, self._seen)
            if not end:
                self._received, self._seen = data, len(data)
                return
            head = RequestHead.read(data[:end])
        except RouterError as error:
            self._refuse(error)
            return
        self._seen, self._since = 0, self._loop.time()
        request = self._request = HttpRequest(head, self)
        self._received = request.body.feed(data[end:])
        self._task = self._loop.create_task(self._answer(request))

    async def _answer(self, request: HttpRequest) -> None:
        whole = False
        try:
            answer = await self._owner.handler(request)
            if answer is not None:
                send_whole(request, answer.status, answer.headers, answer.body)
            while self.paused:
                await self.drained()
            whole = True
        except asyncio.CancelledError as cancelled:
            # Its frames refer to this task: a circle, which would keep the request.
            cancelled.__context__ = None
            raise cancelled.with_traceback(None) from None
        except ConnectionError:
            pass  # the caller left, or the answer broke off
        except Exception:
            logger.exception("a defect of the router")
            if not request.status and not self.over:
                self._tell(request, _defect())
        finally:
            self._end(request, whole=whole)

    def _end(self, request: HttpRequest, *, whole: bool) -> None:
        self._task = self._request = None
        if self._transport.is_closing():
            return
        if not whole or self._owner.leaving:
            self.close()
        elif not request.keeps:
            self._close_late(request)
        else:
            self._since = self._loop.time()
            self._received = request.body.feed(self._received)
            if self._received:
                self._begin()
            self.read_on()

    def _close_late(self, request: HttpRequest | None) -> None:
        """Where more of a body may come, take it in: else the kernel would drop the answer."""
        if request is not None and request.body.complete:
            self.close()
            return
        self._lingering = self._loop.call_later(_LINGER, self._transport.close)
        self._received = b""
        if self._held_back:
            self._held_back = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _refuse(self, error: RouterError) -> None:
        """Answer what is not HTTP, and repeat nothing of it: that can be a token."""
        logger.info("a request that is not valid HTTP (%s)", error.code)
        request = HttpRequest(RequestHead(), self)
        request.keeps = False
        self._tell(request, error_answer(Problem.of(error), OPENAI))
        self._close_late(None)

    def _tell(self, request: HttpRequest, answer: HttpAnswer) -> None:
        request.always = request.always or {REQUEST_ID: new_request_id(), **ALWAYS}
        request.keeps = False
        send_whole(request, answer.status, answer.headers, answer.body)

    # --- what a request asks for -----------------------------------------------------

    def send(self, data: bytes) -> bool:
        if self._transport.is_closing():
            raise ConnectionResetError("the caller left")
        self._sent += len(data)
        self._transport.write(data)
        return not self.paused

    async def drained(self) -> None:
        """Wait until the caller has read most of what it was sent."""
        while self.paused:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def stamp(self) -> str:
        return self._owner.stamp()

    def read_on(self) -> None:
        waiting = 0 if self._request is None else self._request.body.waiting
        if self._held_back and max(waiting, len(self._received)) <= _MOST_KEPT:
            self._held_back = False
            self._transport.resume_reading()

    def _hold_back(self) -> None:
        if not self._held_back:
            self._held_back = True
            self._transport.pause_reading()

    # --- time ------------------------------------------------------------------------

    def _look_later(self) -> None:
        every = min(self._owner.read_timeout, _KEEP_ALIVE) / _LOOKS
        self._timer = self._loop.call_later(every, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if self._held_back and has_left(self._transport):  # nothing is read, so not its end
            self._transport.abort()
            return
        stalled = self._reading.has_stalled(now, self._sent, unread(self._transport))
        if stalled or (self._task is not None and now - self._since >= self._owner.longest):
            self.gave_up = True
            name = "READ_TIMEOUT" if stalled else "REQUEST_TIMEOUT"
            logger.info("an answer is not read: %s is over, the connection ends", name)
            hang_up(self._transport)
            return
        if self.is_idle and now - self._since >= _KEEP_ALIVE:
            self.close()
        self._look_later()


def _defect() -> HttpAnswer:
    told = InternalError("The router failed on this request. Its log says why.")
    return error_answer(Problem.of(told), OPENAI)
