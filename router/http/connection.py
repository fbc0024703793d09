"""One connection of a caller: serves its requests one after the other.

Each request has a task, which ends with the connection. Pipelined requests wait in a bounded
buffer and are not parsed until the current request is answered.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from router.errors import RouterError
from router.http.answers import Handler
from router.http.http_request import HttpRequest
from router.http.own_answers import refuse, tell_of_defect
from router.http.read_buffer import ReadBuffer
from router.http.reading import hang_up
from router.http.request_head import RequestHead, breaks_before, end_of_head
from router.http.watch import Watch
from router.http.writing import send_whole
from router.outbox import Outbox

logger = logging.getLogger("router.http")

_LINGER = 2.0  # seconds to keep reading after an early refusal, so that the caller sees it


class ConnectionOwner(Protocol):
    """What a connection needs from its server.

    * `read_timeout`: seconds within which a caller must read some of its answer.
    * `longest`: seconds for a whole request.
    * `leaving`: the server takes no further requests.
    """

    handler: Handler
    outbox: Outbox
    read_timeout: float
    longest: float
    leaving: bool

    def add(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def stamp(self) -> str: ...


class Connection(asyncio.Protocol):
    """Serves HTTP over one transport.

    The connection ends if its caller does not read the answer. If nothing is being sent, TCP
    keepalive notices a caller that is gone.
    """

    __slots__ = (
        "_answered",
        "_buffer",
        "_counted",
        "_drained",
        "_lingering",
        "_loop",
        "_outbox",
        "_owner",
        "_request",
        "_seen",
        "_task",
        "_transport",
        "_watch",
        "gave_up",
        "paused",
        "sent",
        "since",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner, self._loop = owner, asyncio.get_running_loop()
        self._outbox = owner.outbox
        self._seen = 0  # bytes of the next head that were already searched for its end
        self._request: HttpRequest | None = None  # the request in progress
        self._task: asyncio.Task[None] | None = None  # the task that answers it
        self._counted = False  # whether `outbox.to_come` counts that task
        self._answered = False  # the whole answer is written, but maybe not sent
        self._drained: asyncio.Future[None] | None = None
        self.sent = 0
        self._lingering: asyncio.TimerHandle | None = None  # the timer that closes it
        self.paused = self.gave_up = False

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def is_idle(self) -> bool:
        return not (self._task or self._lingering or self._transport.is_closing())

    @property
    def is_spare(self) -> bool:
        """Whether it is idle, or its caller pipelines requests without reading the answer."""
        if self._transport.is_closing():
            return False
        request = self._request
        return request is None or (self._answered and self._buffer.size > request.body.waiting)

    @property
    def ends(self) -> bool:
        return self._owner.leaving

    @property
    def over(self) -> bool:
        return self._transport.is_closing()

    def leave(self) -> None:
        """Close the connection as soon as its request is answered."""
        if self.is_idle:
            self.close()

    def close(self) -> None:
        """Close the connection after the written data is sent."""
        self._outbox.flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def give_way(self) -> None:
        """Close the connection to make room for another."""
        if self._task is None:
            self.close()
        else:
            hang_up(self._transport)

    # --- calls of the transport ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._buffer = ReadBuffer(self._transport)
        self.since = self._loop.time()  # when the request or the idle time began
        owner = self._owner
        self._watch = Watch(
            self, self._transport, read_timeout=owner.read_timeout, longest=owner.longest
        )
        owner.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._watch.end()
        del self._watch  # breaks a reference cycle
        if self._lingering is not None:
            self._lingering.cancel()
        self._buffer.clear()
        self._cancel()
        self._owner.forget(self)

    def eof_received(self) -> None:
        """A caller that closes its sending side counts as gone."""
        self._cancel()

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        self._buffer.add(data)
        if self._request is None:
            self._begin()
        else:
            self._request.body.has_come()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- requests, one after the other -----------------------------------------------

    def _begin(self) -> None:
        """Start the next request if its head is complete."""
        data, at = self._buffer.look()
        if data[at] < 32 and (breaks := breaks_before(data, at)):
            self._buffer.skip(breaks)
            at += breaks
        try:
            end = end_of_head(data, at, self._seen)
            if not end:
                self._seen = self._buffer.size
                return
            head = RequestHead.read(data[at:end])
        except RouterError as error:
            refuse(HttpRequest(RequestHead(), self, self._buffer), error)
            self._close_late(None)
            return
        self._seen, self.since, self._answered = 0, self._loop.time(), False
        self._buffer.skip(end - at)
        request = self._request = HttpRequest(head, self, self._buffer)
        self._task = self._loop.create_task(self._answer(request))
        self._counted = True
        self._outbox.to_come += 1

    def _count_off(self) -> None:
        if self._counted:
            self._counted = False
            self._outbox.to_come -= 1

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._count_off()  # a task that has not started will never run

    async def _answer(self, request: HttpRequest) -> None:
        self._count_off()
        whole = False
        try:
            answer = await self._owner.handler(request)
            if answer is not None:
                send_whole(request, answer.status, answer.headers, answer.body)
            self._answered = True
            while self.paused:
                await self.drained()
            whole = True
        except asyncio.CancelledError as cancelled:
            # The exception's frames refer to this task: a cycle that would keep the request
            # alive.
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
            request.body.pass_over()
            if self._buffer.size:
                self._begin()

    def _close_late(self, request: HttpRequest | None) -> None:
        """Read and drop what the caller still sends. If data is unread, the kernel resets the
        connection and drops the answer."""
        if request is not None and request.body.complete:
            request.body.pass_over()
            if not self._buffer.size:
                self.close()
                return
        self._lingering = self._loop.call_later(_LINGER, self._transport.close)
        self._buffer.clear()
        self._outbox.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- methods for a request (`Wire`) ----------------------------------------------

    def send(self, data: bytes) -> bool:
        if self._transport.is_closing():
            raise ConnectionResetError("the caller left")
        self.sent += len(data)
        self._outbox.write(self._transport, data)
        return not self.paused

    async def drained(self) -> None:
        """Wait until the caller has read most of what was sent."""
        while self.paused:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def stamp(self) -> str:
        return self._owner.stamp()

    @property
    def held_back(self) -> bool:
        return self._buffer.held_back
