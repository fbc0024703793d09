"""One request, from body to answer: admit, lease, relay. Knows ports, and no transport."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from router.access.authorize import Admission, Admitted
from router.clock import Clock
from router.config.catalog import Catalog, OperatorModel, engine_spec
from router.config.settings import Settings
from router.errors import (
    DeadlineExceeded,
    EngineFailed,
    HubUnavailable,
    RouteNotFound,
    WrongEndpoint,
)
from router.models import EngineSpec, ResolvedModel
from router.pool.pool import EnginePool
from router.requests.exchange import Exchanges, Until
from router.requests.interfaces import Relay, UpstreamLost
from router.requests.response import Part, Progress, Request
from router.requests.routes import ROUTES, Call, caller_token, parse
from router.scheduler.lifecycle import State
from router.secrets import Token

_GLANCE = 1.0  # seconds for which who waits is kept from being told of progress


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A line of `/v1/models`."""

    id: str
    owned_by: str
    loaded: bool


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: the default model is up, or has failed for good. `leaving`: draining."""

    ready: bool
    leaving: bool


@dataclass(frozen=True, slots=True)
class _Order:
    """A request that was read and authorised."""

    call: Call
    spec: EngineSpec
    download_credential: Token | None
    salt: str | None
    caller: str  # whose limits it counts against
    admitted: Admitted
    token: Token | None


class Service:
    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog,
        admission: Admission,
        pool: EnginePool,
        relay: Relay,
        flags: tuple[str, ...],
        salt: bytes,
        clock: Clock,
        progress_every: float = 5.0,
    ) -> None:
        """`flags` go to every engine; `salt` is a secret of this process, from which each
        caller's prefix cache gets a name of its own; `progress_every` is in seconds."""
        self._settings, self._catalog, self._admission = settings, catalog, admission
        self._pool = pool
        self._flags, self._salt, self._clock = flags, salt, clock
        self._progress_every = progress_every
        local = [model.source for model in catalog.models if isinstance(model.source, Path)]
        paths = [str(path) for path in (settings.hf_hub_cache, *local)]
        self._exchanges = Exchanges(relay, clock, paths)
        self.ready = False
        self.leaving = False

    async def answer(self, request: Request) -> AsyncGenerator[Part, None]:
        """Yield Progress while there is nothing else, one Head, then Body.

        Raises `RouterError`, before the Head or in the body.

        The lease is held inside: close the generator (`aclosing`) to end the request.
        """
        began = self._clock()
        ends = began + self._settings.request_timeout
        queued_until = min(began + self._settings.queue_timeout, ends)
        order = await self._order(request, queued_until)
        age: int | None = None
        for last in (False, True):
            with self._pool.lease(
                order.spec,
                order.download_credential,
                deadline=queued_until,
                caller=order.caller,
                age=age,
            ) as lease:
                waited = False
                while not await lease.granted(within=self._progress_every):
                    waited = True
                    with suppress(HubUnavailable, DeadlineExceeded):  # asked again in the end
                        await self._renew(order, self._clock() + _GLANCE)
                    yield self._progress(order)
                if waited:
                    await self._renew(order, queued_until)
                age = lease.age
                begun = False
                try:
                    exchange = self._exchanges.run(
                        order.call,
                        order.salt,
                        lease,
                        # An answer in one piece may take all of the request's time.
                        first_by=queued_until if order.call.stream else ends,
                        ends=ends,
                    )
                    async with aclosing(exchange) as parts:
                        async for part in parts:
                            begun = True
                            yield part
                    return
                except UpstreamLost:
                    await self._pool.suspect(lease)
                    if begun or last:
                        raise _engine_failed(order.spec, begun=begun) from None

    async def models(self, hf_token: str | None, caller: str) -> Sequence[ModelCard]:  # noqa: ARG002
        """The operator's models, and the loaded ones that this caller may use."""
        token = caller_token(hf_token, None)
        loaded = self._pool.loaded()
        ours = [_card(model, loaded) for model in self._catalog.models]
        others = [spec.model for spec in loaded if not spec.listed]
        may = await asyncio.gather(
            *(self._admission.entitled(model, token) for model in others)
        )
        theirs = [
            ModelCard(model.repo_id, model.repo_id.partition("/")[0], loaded=True)
            for model, entitled in zip(others, may, strict=True)
            if entitled
        ]
        known = {card.id for card in ours}
        return [*ours, *(card for card in dict.fromkeys(theirs) if card.id not in known)]

    async def model(self, name: str, hf_token: str | None, caller: str) -> ModelCard:  # noqa: ARG002
        """One model, under the name that was asked for; refused as a request for it is."""
        admitted = await self._admission.admit(name, caller_token(hf_token, None))
        if admitted.operator is not None:
            return replace(_card(admitted.operator, self._pool.loaded()), id=name)
        key = self._spec(admitted).key
        loaded = any(spec.key == key for spec in self._pool.loaded())
        return ModelCard(name, key.repo_id.partition("/")[0], loaded)

    def health(self) -> Health:
        return Health(self.ready, self.leaving)

    async def preload(self, model: OperatorModel) -> None:
        """Start an operator's model, and return when it is ready. Raises `RouterError`."""
        admitted = await self._admission.admit(model.name, None)
        deadline = self._clock() + self._settings.queue_timeout
        spec = self._spec(admitted)
        with self._pool.lease(spec, admitted.download_credential, deadline=deadline) as lease:
            await lease.granted()

    # --- before the lease ----------------------------------------------------------

    async def _order(self, request: Request, deadline: float) -> _Order:
        """Read and authorise. Nothing has been started, queued or said before this ends."""
        route = ROUTES.get(request.route)
        if route is None:
            raise RouteNotFound(f"There is no route {request.route}.")
        call = parse(request.body, route, self._settings.media_domains)
        token = caller_token(request.hf_token, call.hf_token)
        async with Until(deadline, self._clock):
            admitted = await self._admission.admit(call.model, token)
        spec = self._spec(admitted)
        if spec.model.task not in route.tasks:
            raise _wrong_endpoint(spec.model, route.path)
        if self._settings.strict_cache_isolation and route.shares_cache_of(spec.model.task):
            raise _switched_off(route.path)
        salt = self._salt_of(request.caller, token)
        caller = request.caller or (token.digest if token else "")
        return _Order(call, spec, admitted.download_credential, salt, caller, admitted, token)

    async def _renew(self, order: _Order, deadline: float) -> None:
        """Rights that ended while a request waited end the request."""
        async with Until(deadline, self._clock):
            await self._admission.renew(order.admitted, order.token)

    def _spec(self, admitted: Admitted) -> EngineSpec:
        return engine_spec(admitted.model, admitted.operator, self._settings, self._flags)

    def _salt_of(self, caller: str, token: Token | None) -> str | None:
        """A name for this caller's part of the prefix cache, from which none can be told."""
        if not caller and token is None:
            return None
        named = f"{caller} {token.digest if token else ''}"
        return hmac.new(self._salt, named.encode(), hashlib.sha256).hexdigest()[:32]

    def _progress(self, order: _Order) -> Progress:
        state, estimate = self._pool.stage(order.spec.key)
        stage = state.value if state in (State.FETCHING, State.STARTING) else "queued"
        return Progress(
            stage, order.call.stream, estimate.done, estimate.total, estimate.seconds
        )


def _card(model: OperatorModel, loaded: Sequence[EngineSpec]) -> ModelCard:
    repo_id = model.ref.repo_id if model.ref else model.name
    up = any(spec.listed and spec.model.repo_id == repo_id for spec in loaded)
    return ModelCard(model.name, repo_id.partition("/")[0] if model.ref else "operator", up)


def _wrong_endpoint(model: ResolvedModel, path: str) -> WrongEndpoint:
    fitting = ", ".join(route.path for route in ROUTES.values() if model.task in route.tasks)
    return WrongEndpoint(
        f"{model.repo_id} is a model to {model.task} with, which {path} is not for. "
        f"Use {fitting}."
    )


def _switched_off(path: str) -> RouteNotFound:
    return RouteNotFound(
        f"{path} is switched off here for models to generate with (STRICT_CACHE_ISOLATION): "
        "SGLang can't keep callers' prompts apart there. Use /v1/chat/completions."
    )


def _engine_failed(spec: EngineSpec, *, begun: bool) -> EngineFailed:
    if begun:
        return EngineFailed(
            f"The engine for {spec.model.repo_id} died in the middle of this answer. Send the "
            "request again: a fresh engine will take it."
        )
    return EngineFailed(
        f"The engine for {spec.model.repo_id} died under this request, twice. The request "
        "may be what it can't bear; the operator's log says how it ended."
    )
