"""Access to the replicas through Ray Serve's handle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, cast
from weakref import WeakValueDictionary

from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException

from router.ray.messages import Errand, Item, Look, Receipt, ReplicaState, RoutePlan
from router.ray.replica_call import ReplicaLost
from router.ray.window import ReadCount
from router.side_process import Body, pieces

_log = logging.getLogger("router.ray")

_LOOK_PATIENCE = 5.0  # seconds
_LARGEST = 4 << 20  # bytes of a replica's state or metrics
_COPIED = 16  # chunks of a body copied at a time: 1.5 ms of CPU; all 512 at once took 30 ms
_TELLS = 5  # attempts to tell a replica how far its answer was read
_PAUSE = 0.2  # seconds between two attempts


class RayReplicas:
    """Implements `VisitedReplicas`. `handle` is the handle of the replicas' deployment."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401 - Ray has no types
        self._handle, self._stream = handle, handle.options(stream=True)
        self._count = count()
        self._answers = WeakValueDictionary[str, RayAnswering]()
        self._heard: set[str] = set()  # replicas that have answered a visit
        self._silent: tuple[str, ...] = ()  # those of them that did not answer the last visit

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> RayAnswering:
        parts: list[bytes] = []
        for piece in pieces(body):
            parts.append(bytes(piece))
            if len(parts) % _COPIED == 0:
                await asyncio.sleep(0)  # let other requests run
        errand = replace(errand, answer=f"{errand.ingress}-{next(self._count)}")
        # A replica that hangs would hold the request until Ray replaces it, minutes later.
        plan.avoid = tuple(dict.fromkeys((*plan.avoid, *self._silent)))
        response = self._stream.respond.remote(plan, errand, *parts)

        async def tell(taken: int) -> None:
            await self._handle.took.remote(Receipt(plan.replica, errand.answer, taken))

        made = self._answers[errand.answer] = RayAnswering(response, tell)
        return made

    async def visit(self, ingress: str) -> Sequence[ReplicaState]:
        """A visit also says how far answers were read.

        A separate receipt could wait behind the very requests that need it, because Ray limits
        the calls in progress at a replica.
        """
        read = {name: one.taken for name, one in self._answers.items() if one.owes}
        visits = self._handle.broadcast("visit", ingress, read)
        try:
            found, all_said = await _said(visits)
        except DeploymentUnavailableError:
            found, all_said = [], True  # there is no replica
        except (RayError, RayServeException, TimeoutError) as error:
            raise ReplicaLost(type(error).__name__) from None
        states = [one for one in found if isinstance(one, ReplicaState)]
        names = {one.replica for one in states}
        self._heard = names if all_said else self._heard | names
        self._silent = tuple(self._heard - names)
        return states

    async def shown(self, look: Look) -> bytes | None:
        shown, found = self._stream.shown.remote(look), bytearray()
        try:
            async with asyncio.timeout(_LOOK_PATIENCE):
                async for piece in shown:
                    found += piece
                    if len(found) > _LARGEST:
                        break
                else:
                    return bytes(found) or None
            reason = f"it is larger than {_LARGEST} bytes"
        except (RayError, RayServeException, TimeoutError) as error:
            reason = type(error).__name__
        with suppress(RayError, RayServeException):
            shown.cancel()
        _log.warning("a replica did not show its %s: %s", look.at.value, reason)
        return None


async def _said(visits: Any) -> tuple[Sequence[object], bool]:  # noqa: ANN401 - Ray's
    """The replies that came in time, and whether all did. Raises Ray's errors."""
    try:
        said = visits.results_async(timeout_s=_LOOK_PATIENCE, return_exceptions=True)
        return await said, True
    except TimeoutError:  # if one replica is silent, Ray drops all replies
        return await asyncio.to_thread(_said_by_now, visits), False


def _said_by_now(visits: Any) -> Sequence[object]:  # noqa: ANN401 - Ray's
    """The replies so far. In a thread, because Ray has no such call for an event loop."""
    try:
        return cast("list[object]", visits.results(timeout_s=0.0, return_exceptions=True))
    except (RuntimeError, CancelledError):  # the call had not yet found the replicas
        raise TimeoutError from None


class RayAnswering:
    """Implements `Answering`. `tell` tells the replica how much of its answer was taken."""

    def __init__(
        self,
        response: Any,  # noqa: ANN401 - Ray's
        tell: Callable[[int], Awaitable[None]],
    ) -> None:
        self._response, self._tell = response, tell
        self._reading: asyncio.Future[Any] | None = None
        self._read, self._is_left = ReadCount(), False
        self._telling: asyncio.Task[None] | None = None

    @property
    def taken(self) -> int:
        """See `Receipt`."""
        return self._read.taken

    @property
    def owes(self) -> bool:
        """Whether the replica must still be told."""
        return self._read.due and not self._is_left

    async def next(self) -> Item:
        """The next item. A canceled call loses nothing: the next call continues it."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._response.__anext__())
            self._reading.add_done_callback(_heard)
        await asyncio.wait({self._reading})
        reading, self._reading = self._reading, None
        if reading.cancelled() and not self._is_left:  # canceled by Ray, not by our caller
            raise ReplicaLost("it was cancelled")
        try:
            item = cast("Item", reading.result())
        except StopAsyncIteration:
            raise ReplicaLost("it ended in the middle") from None
        except (RayError, RayServeException) as error:
            # Ray's text can contain anything, so log only the type.
            _log.warning("a replica was lost under a request: %s", type(error).__name__)
            # For an error of Ray Serve itself, no replica got the request.
            taken = isinstance(error, RayError)
            raise ReplicaLost(type(error).__name__, taken=taken) from None
        if isinstance(item, bytes):
            self._read.take(item)
            if self._read.due and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell_on())
        return item

    async def _tell_on(self) -> None:
        """Tell the replica until it knows everything that was taken. Nobody waits for this."""
        failed = 0
        while self._read.due and failed < _TELLS:
            taken = self._read.taken
            try:
                await self._tell(taken)
            except (RayError, RayServeException) as error:
                # If the replica is lost, `next` reports it.
                _log.debug("a replica could not be told: %s", type(error).__name__)
                failed += 1
                await asyncio.sleep(_PAUSE)
            else:
                self._read.told = taken

    def cancel(self) -> None:
        self._is_left = True
        if self._reading is not None:
            self._reading.cancel()
        if self._telling is not None:
            self._telling.cancel()
        with suppress(RayError, RayServeException):  # the call may have failed
            self._response.cancel()


def _heard(reading: asyncio.Future[Any]) -> None:
    """Take the error, so that asyncio does not log it: Ray's text can contain anything."""
    if not reading.cancelled():
        reading.exception()
