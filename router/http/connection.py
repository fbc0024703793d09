"""One connection of a caller: its requests in turn, and their answers.

Each request has a task, which ends with the connection. What a caller sends ahead waits here up
to a bound, and is not looked at before the request before it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from router.errors import RouterError
from router.http.answers import Handler
from router.http.http_request import HttpRequest
from router.http.own_answers import refuse, tell_of_defect
from router.http.request_head import RequestHead, end_of_head
from router.http.watch import Watch
from router.http.writing import send_whole

logger = logging.getLogger("router.http")

_MOST_KEPT = 128 * 1024  # bytes of a body that is not read, and of what is sent ahead
_LINGER = 2.0  # seconds to read on after an early refusal, so that it is seen


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
        "_lingering",
        "_loop",
        "_owner",
        "_received",
        "_request",
        "_seen",
        "_task",
        "_transport",
        "_watch",
        "gave_up",
        "held_back",
        "paused",
        "sent",
        "since",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner, self._loop = owner, asyncio.get_running_loop()
        self._received, self._seen = b"", 0  # not parsed yet, and so much looked at in vain
        self._request: HttpRequest | None = None  # in progress
        self._task: asyncio.Task[None] | None = None  # that answers it
        self._drained: asyncio.Future[None] | None = None
        self.sent = 0
        self._lingering: asyncio.TimerHandle | None = None  # ends it
        self.paused = self.gave_up = self.held_back = False

    @property
    def busy(self) -> bool:
        return self._task is not None

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
        self.since = self._loop.time()  # of the request, or that there is none
        owner = self._owner
        self._watch = Watch(
            self, self._transport, read_timeout=owner.read_timeout, longest=owner.longest
        )
        owner.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._watch.end()
        del self._watch  # it refers back
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
            refuse(HttpRequest(RequestHead(), self), error)
            self._close_late(None)
            return
        self._seen, self.since = 0, self._loop.time()
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
                tell_of_defect(request)
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
            self.since = self._loop.time()
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
        if self.held_back:
            self.held_back = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- what a request asks for -----------------------------------------------------

    def send(self, data: bytes) -> bool:
        if self._transport.is_closing():
            raise ConnectionResetError("the caller left")
        self.sent += len(data)
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
        if self.held_back and max(waiting, len(self._received)) <= _MOST_KEPT:
            self.held_back = False
            self._transport.resume_reading()

    def _hold_back(self) -> None:
        if not self.held_back:
            self.held_back = True
            self._transport.pause_reading()
