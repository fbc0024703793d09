"""One request to a replica: authorizes it, sends it, reads the answer, and cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from router.clock import Clock
from router.errors import EngineFailed
from router.ray.messages import (
    AnswerEnd,
    AnswerHead,
    Errand,
    Item,
    Look,
    Refused,
    ReplicaState,
    RoutePlan,
    is_comment,
)
from router.requests.deadlines import Deadlines, out_of_time
from router.requests.dialects import Problem
from router.requests.interfaces import pour_read
from router.requests.record import Record
from router.requests.request import Progress
from router.side_process import Body

_ATTEMPTS = 3  # not more: the request itself may be what kills the replicas


class ReplicaLost(Exception):
    """The replica died or can't be reached. `taken`: whether it may have seen the request."""

    def __init__(self, message: str, *, taken: bool = True) -> None:
        super().__init__(message)
        self.taken = taken


class Answering(Protocol):
    """A replica's answer to one request."""

    async def next(self) -> Item:
        """The next item. Raises `ReplicaLost`, even if the stream ends without `AnswerEnd`."""
        ...

    def cancel(self) -> None:
        """Cancel the answer. Safe to call again, and at any time."""
        ...


class Replicas(Protocol):
    """Sends requests to the replicas."""

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> Answering: ...


class VisitedReplicas(Replicas, Protocol):
    """The replicas, and what else an ingress asks of them."""

    async def visit(self, ingress: str) -> Sequence[ReplicaState]:
        """Tell each replica that this ingress is alive. Returns the states that come back.

        Raises `ReplicaLost` if the visit fails as a whole.
        """
        ...

    async def shown(self, look: Look) -> bytes | None:
        """A replica's state or metrics; None if it sends nothing, too late, or too much."""
        ...


class ReplicaCall:
    """The `Source` of a response from a worker of the fleet.

    If a replica is lost before its answer begins, the request goes to another one. Comments
    that it sends while it waits for an engine are not part of the answer.
    """

    def __init__(
        self,
        replicas: Replicas,
        *,
        authorize: Callable[[], Awaitable[RoutePlan]],
        errand: Errand,
        body: Callable[[], Body],
        stream: bool,
        deadlines: Deadlines,
        record: Record,
        clock: Clock,
        routed: Callable[[RoutePlan], None] = lambda _: None,
    ) -> None:
        """`authorize` returns the plan; nothing is sent before that. `routed` is called after
        each attempt."""
        self._replicas, self._authorize = replicas, authorize
        self._errand, self._body, self._stream = errand, body, stream
        self._deadlines, self._record, self._clock = deadlines, record, clock
        self._routed = routed
        self._answering: Answering | None = None
        self._head: AnswerHead | None = None
        self._told = ""  # the latest comment
        self._authorized = self._over = False
        self._left = -1  # bytes of the answer that are still to come; < 0: unknown
        self.first = b""
        self.problem: Problem | None = None

    @property
    def status(self) -> int:
        return 200 if self._head is None else self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self._head is None else self._head.headers

    @property
    def streams(self) -> bool:
        return self._head is not None and self._head.streams and self.problem is None

    async def reach(self) -> None:
        """Return once an answer has begun or was refused. Raises `RouterError`."""
        due = self._deadlines.first_byte if self._stream else self._deadlines.end
        try:
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._reach()
        except TimeoutError:
            raise out_of_time() from None

    async def read(self) -> bytes:
        """Return more of the body; empty once the answer is complete."""
        if self._over:
            return b""
        assert self._answering is not None, "reach first"  # noqa: S101
        try:
            item = await self._answering.next()
        except ReplicaLost:
            self._record.died = True
            raise _died_midway() from None
        if isinstance(item, bytes):
            self._record.saw(item)
            self._count(item)
            return item
        if isinstance(item, Refused):
            raise _broke_off(item.problem)
        self._over = True
        return b""

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        return await pour_read(self.read, sink)

    async def close(self) -> None:
        answering, self._answering = self._answering, None
        if answering is not None and not self._over:
            answering.cancel()

    def progress(self) -> Progress:
        if not self._authorized:
            return Progress("authorizing")
        return Progress("queued", why=self._told)

    async def _reach(self) -> None:
        plan = await self._authorize()
        self._authorized = True
        lost = 0
        while True:
            try:
                await self._attempt(plan)
            except ReplicaLost as failure:
                await self.close()
                lost += failure.taken
                if lost >= _ATTEMPTS:
                    raise _died_again() from None
                avoid = dict.fromkeys(filter(None, (*plan.avoid, plan.replica)))
                plan = RoutePlan(plan.model, plan.session, tuple(avoid))
                if not failure.taken:
                    await asyncio.sleep(0.2)  # no replica was there to take it
            else:
                return

    async def _attempt(self, plan: RoutePlan) -> None:
        try:
            await self._send(plan)
        finally:
            self._routed(plan)

    async def _send(self, plan: RoutePlan) -> None:
        self._head, self._told, self._left = None, "", -1  # forget a lost attempt
        self._answering = await self._replicas.send(plan, self._errand, self._body())
        self._record.attempts += 1
        while True:
            item = await self._answering.next()
            if isinstance(item, AnswerHead):
                self._head = item
                self._left = int(item.headers.get("content-length", -1))
            elif isinstance(item, Refused):
                if item.leaving:
                    raise ReplicaLost("it is leaving", taken=False)
                self.problem, self._over = item.problem, True
                return
            elif isinstance(item, AnswerEnd):
                self._over = True
                return
            elif self.streams and is_comment(item):  # the engine has not answered yet
                with suppress(UnicodeDecodeError):
                    self._told = item.decode().strip(": \n")
            else:
                self.first = item
                self._record.begins(item)
                self._count(item)
                return

    def _count(self, data: bytes) -> None:
        """Count bytes. If the length is known, the last byte ends the answer at once."""
        self._left -= len(data)
        self._over = self._left == 0


def _died_midway() -> EngineFailed:
    return EngineFailed(
        "The worker stopped in the middle of this answer. Send the request again: another "
        "one will take it."
    )


def _died_again() -> EngineFailed:
    return EngineFailed(
        f"Workers died under this request, {_ATTEMPTS} times. The request may be the cause; "
        "the operator's log says how they ended."
    )


def _broke_off(problem: Problem) -> EngineFailed:
    return EngineFailed(problem.message)
