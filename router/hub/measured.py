"""A Hub that reports the outcome of each request to it."""

from __future__ import annotations

import time
from collections.abc import Callable

from router.errors import RouterError
from router.hub.interfaces import Hub
from router.hub.watch import HubWatch
from router.models import ModelRef, ResolvedModel
from router.secrets import Token

# Arguments: the kind of request, `ok` or an error code, and the duration in seconds.
Observe = Callable[[str, str, float], None]


class MeasuredHub:
    """Implements `Hub` by wrapping another one."""

    def __init__(
        self,
        hub: Hub,
        observe: Observe,
        watch: HubWatch,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._hub, self._observe, self._watch, self._clock = hub, observe, watch, clock

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        """Implements `Hub.resolve`."""
        with _Question("resolve", self._observe, self._watch, self._clock):
            return await self._hub.resolve(ref, credential)

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        """Implements `Hub.entitle`."""
        with _Question("entitle", self._observe, self._watch, self._clock):
            await self._hub.entitle(model, credential)


class _Question:
    def __init__(
        self, name: str, observe: Observe, watch: HubWatch, clock: Callable[[], float]
    ) -> None:
        self._name, self._observe, self._watch, self._clock = name, observe, watch, clock

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        outcome = "ok" if error is None else "ended"
        if isinstance(error, RouterError):
            outcome = error.code
        self._observe(self._name, outcome, self._clock() - self._began)
        self._watch.note(error)
