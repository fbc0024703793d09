"""The replicas, by way of Ray Serve's handle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from router.ray.messages import Errand, Item, ReplicaState, RoutePlan
from router.ray.replica_call import ReplicaLost
from router.side_process import Body, pieces

_log = logging.getLogger("router.ray")

_LOOK_PATIENCE = 5.0  # seconds


class RayReplicas:
    """Implements `Replicas`. `handle`: of the deployment of replicas."""

    def __init__(self, handle: Any) -> None:  # noqa: ANN401 - Ray has no types
        self._handle, self._stream = handle, handle.options(stream=True)

    def send(self, plan: RoutePlan, errand: Errand, body: Body) -> RayAnswering:
        parts = [bytes(piece) for piece in pieces(body)]
        return RayAnswering(self._stream.respond.remote(plan, errand, *parts))

    async def visit(self, ingress: str) -> Sequence[ReplicaState]:
        """Tell each replica that this ingress lives, and hear how they are. Those that do not
        answer are left out. Raises `ReplicaLost` where they can't be asked at all."""
        try:
            found = await self._handle.broadcast("visit", ingress).results_async(
                timeout_s=_LOOK_PATIENCE, return_exceptions=True
            )
        except (RayError, RayServeException, TimeoutError) as error:
            raise ReplicaLost(type(error).__name__) from None
        return [one for one in found if isinstance(one, ReplicaState)]


class RayAnswering:
    """Implements `Answering`."""

    def __init__(self, response: Any) -> None:  # noqa: ANN401 - Ray's
        self._response = response
        self._reading: asyncio.Future[Any] | None = None

    async def next(self) -> Item:
        """A call that is cancelled loses nothing: the next one goes on with it."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._response.__anext__())
        await asyncio.wait({self._reading})
        reading, self._reading = self._reading, None
        try:
            return cast("Item", reading.result())
        except StopAsyncIteration:
            raise ReplicaLost("it ended in the middle") from None
        except (RayError, RayServeException) as error:
            # Ray's text can hold anything; its kind tells enough.
            _log.warning("a replica was lost under a request: %s", type(error).__name__)
            # Ray Serve's own: no replica could be given the request.
            taken = isinstance(error, RayError)
            raise ReplicaLost(type(error).__name__, taken=taken) from None

    def cancel(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._response.cancel()
