"""The replicas, by way of Ray Serve's handle."""

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
_LARGEST = 4 << 20  # bytes of what a replica shows
_COPIED = 16  # pieces of a body at a time: 1.5 ms of CPU, where all 512 at once took 30
_TELLS = 5  # attempts to tell a replica how far its answer was read
_PAUSE = 0.2  # seconds between two of them


class RayReplicas:
    """Implements `VisitedReplicas`. `handle`: of the deployment of replicas."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401 - Ray has no types
        self._handle, self._stream = handle, handle.options(stream=True)
        self._count = count()
        self._answers = WeakValueDictionary[str, RayAnswering]()
        self._heard: set[str] = set()  # replicas that have answered a visit
        self._silent: tuple[str, ...] = ()  # of those, the ones that did not answer the last

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> RayAnswering:
        parts: list[bytes] = []
        for piece in pieces(body):
            parts.append(bytes(piece))
            if len(parts) % _COPIED == 0:
                await asyncio.sleep(0)  # other requests go on
        errand = replace(errand, answer=f"{errand.ingress}-{next(self._count)}")
        # One that hangs would keep the request until Ray replaces it, which takes minutes.
        plan.avoid = tuple(dict.fromkeys((*plan.avoid, *self._silent)))
        response = self._stream.respond.remote(plan, errand, *parts)

        async def tell(taken: int) -> None:
            await self._handle.took.remote(Receipt(plan.replica, errand.answer, taken))

        made = self._answers[errand.answer] = RayAnswering(response, tell)
        return made

    async def visit(self, ingress: str) -> Sequence[ReplicaState]:
        """They also hear how far answers were read. By itself, such word could wait behind the
        very requests that wait for it: Ray lets only so many at once into a replica.
        """
        read = {name: one.taken for name, one in self._answers.items() if one.owes}
        visits = self._handle.broadcast("visit", ingress, read)
        try:
            found, all_said = await _said(visits)
        except DeploymentUnavailableError:
            found, all_said = [], True  # there is none
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
    """What replicas said in time, and whether all of them did. Raises what Ray does."""
    try:
        said = visits.results_async(timeout_s=_LOOK_PATIENCE, return_exceptions=True)
        return await said, True
    except TimeoutError:  # all that others said is lost where one is silent
        return await asyncio.to_thread(_said_by_now, visits), False


def _said_by_now(visits: Any) -> Sequence[object]:  # noqa: ANN401 - Ray's
    """Ray has no such call for an event loop."""
    try:
        return cast("list[object]", visits.results(timeout_s=0.0, return_exceptions=True))
    except (RuntimeError, CancelledError):  # of a call that had not even found the replicas
        raise TimeoutError from None


class RayAnswering:
    """Implements `Answering`. `tell`: says to the replica how much of its answer was taken."""

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
        """Whether the replica has yet to hear of it."""
        return self._read.due and not self._is_left

    async def next(self) -> Item:
        """A call that is cancelled loses nothing: the next one goes on with it."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._response.__anext__())
            self._reading.add_done_callback(_heard)
        await asyncio.wait({self._reading})
        reading, self._reading = self._reading, None
        if reading.cancelled() and not self._is_left:  # by Ray, and not the one that waits here
            raise ReplicaLost("it was cancelled")
        try:
            item = cast("Item", reading.result())
        except StopAsyncIteration:
            raise ReplicaLost("it ended in the middle") from None
        except (RayError, RayServeException) as error:
            # Ray's text can hold anything; its kind tells enough.
            _log.warning("a replica was lost under a request: %s", type(error).__name__)
            # Ray Serve's own: no replica could be given the request.
            taken = isinstance(error, RayError)
            raise ReplicaLost(type(error).__name__, taken=taken) from None
        if isinstance(item, bytes):
            self._read.take(item)
            if self._read.due and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell_on())
        return item

    async def _tell_on(self) -> None:
        """Until all is told that was taken meanwhile. Nobody waits for it."""
        failed = 0
        while self._read.due and failed < _TELLS:
            taken = self._read.taken
            try:
                await self._tell(taken)
            except (RayError, RayServeException) as error:
                # A replica that is lost is seen as such by `next`.
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
        with suppress(RayError, RayServeException):  # why the call failed, if it has
            self._response.cancel()


def _heard(reading: asyncio.Future[Any]) -> None:
    """Else asyncio logs an error that nobody waited for. Ray's text can hold anything."""
    if not reading.cancelled():
        reading.exception()
