"""One request, from body to answer: admit, lease, relay. Knows ports, and no transport."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.admission import Admission, Admitted
from router.catalogue import Catalogue, OperatorModel, engine_spec
from router.core.lease import Lease
from router.core.models import Access, EngineSpec, ModelRef, ResolvedModel
from router.core.pool import EnginePool
from router.core.ports import (
    Clock,
    Credential,
    Relay,
    UpstreamLost,
    UpstreamRequest,
    UpstreamResponse,
)
from router.core.states import State
from router.envelope import engine_error
from router.errors import (
    DeadlineExceeded,
    EngineFailed,
    RouteNotFound,
    WrongEndpoint,
)
from router.openai import ROUTES, Call, caller_token, parse
from router.settings import Settings
from router.tokens import Token

_JSON = {"Content-Type": "application/json"}
_LONGEST_ERROR = 1 << 20  # bytes of an engine's error that are read


@dataclass(frozen=True, slots=True)
class Request:
    """One call, freed of its transport."""

    route: str  # as the router knows it: "/v1/chat/completions"
    body: bytes  # JSON, as it came
    hf_token: str | None = None  # from the transport's own place for it, unchecked
    caller: str = ""  # tells callers apart (a digest of the API key); never a secret


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing to send yet. Only ever before the Head, every few seconds."""

    stage: str  # "queued", "fetching", "starting"
    stream: bool  # whether the caller asked for a stream
    done: int = 0  # bytes on disk, while fetching
    total: int = 0
    seconds: float | None = None  # that are left, where anything can be said

    def __str__(self) -> str:
        """For people who wait."""
        share = f" {self.done / self.total:.0%} of {self.total} bytes" if self.total else ""
        eta = "" if self.seconds is None else f", about {self.seconds:.0f} s left"
        return f"{self.stage}{share}{eta}"


@dataclass(frozen=True, slots=True)
class Head:
    """The answer's status and the headers that may be shown. Exactly one an answer."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of the answer, as they arrived; boundaries mean nothing."""

    data: bytes


Part = Progress | Head | Body


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
    payer: Credential | None
    salt: str | None


class Service:
    def __init__(
        self,
        settings: Settings,
        *,
        catalogue: Catalogue,
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
        self._settings, self._catalogue, self._admission = settings, catalogue, admission
        self._pool, self._relay = pool, relay
        self._flags, self._salt, self._clock = flags, salt, clock
        self._progress_every = progress_every
        local = [model.source for model in catalogue.models if isinstance(model.source, Path)]
        self._local_paths = [str(path) for path in (settings.hf_hub_cache, *local)]
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
                order.spec, order.payer, deadline=queued_until, age=age
            ) as lease:
                while not await lease.granted(within=self._progress_every):
                    yield self._progress(order)
                age = lease.age
                begun = False
                try:
                    first_by = queued_until if order.call.stream else ends
                    relayed = self._relayed(order, lease, first_by, ends)
                    async with aclosing(relayed) as parts:
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
        loaded = [spec for spec in self._pool.loaded() if spec.model.access is not Access.LOCAL]
        ours = [_card(model, loaded) for model in self._catalogue.models]
        others = [
            spec.model
            for spec in loaded
            if self._catalogue.match(ModelRef(spec.model.repo_id)) is None
        ]
        may = await asyncio.gather(
            *(self._admission.entitled(model, token) for model in others)
        )
        theirs = [
            ModelCard(model.repo_id, model.repo_id.partition("/")[0], loaded=True)
            for model, entitled in zip(others, may, strict=True)
            if entitled
        ]
        return [*ours, *dict.fromkeys(theirs)]

    async def model(self, name: str, hf_token: str | None, caller: str) -> ModelCard:  # noqa: ARG002
        """One model, under the name that was asked for; refused as a request for it is."""
        admitted = await self._admission.admit(name, caller_token(hf_token, None))
        repo_id = admitted.model.repo_id
        loaded = any(spec.model.repo_id == repo_id for spec in self._pool.loaded())
        return ModelCard(name, repo_id.partition("/")[0], loaded)

    def health(self) -> Health:
        return Health(self.ready, self.leaving)

    async def preload(self, model: OperatorModel) -> None:
        """Start an operator's model, and return when it is ready. Raises `RouterError`."""
        admitted = await self._admission.admit(model.name, None)
        deadline = self._clock() + self._settings.queue_timeout
        spec = self._spec(admitted)
        with self._pool.lease(spec, admitted.payer, deadline=deadline) as lease:
            await lease.granted()

    # --- before the lease ----------------------------------------------------------

    async def _order(self, request: Request, deadline: float) -> _Order:
        """Read and authorise. Nothing has been started, queued or said before this ends."""
        route = ROUTES.get(request.route)
        if route is None:
            raise RouteNotFound(f"There is no route {request.route}.")
        call = parse(request.body, route, self._settings.media_domains)
        token = caller_token(request.hf_token, call.hf_token)
        async with self._until(deadline):
            admitted = await self._admission.admit(call.model, token)
        spec = self._spec(admitted)
        if spec.model.task not in route.tasks:
            raise _wrong_endpoint(spec.model, route.path)
        salt = self._salt_of(request.caller, token)
        return _Order(call, spec, admitted.payer, salt)

    def _spec(self, admitted: Admitted) -> EngineSpec:
        return engine_spec(admitted.model, admitted.operator, self._settings, self._flags)

    def _salt_of(self, caller: str, token: Token | None) -> str | None:
        """A name for this caller's part of the prefix cache, from which none can be told."""
        if not caller and token is None:
            return None
        named = f"{caller} {token.digest if token else ''}"
        return hmac.new(self._salt, named.encode(), hashlib.sha256).hexdigest()[:32]

    @asynccontextmanager
    async def _until(self, deadline: float) -> AsyncIterator[None]:
        """Bound one step. Never put a `yield` inside: the time-out would strike the caller."""
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                yield
        except TimeoutError:
            raise DeadlineExceeded(
                "The answer did not come in time. Ask for less, stream, or have the operator "
                "raise QUEUE_TIMEOUT (to the first byte) or REQUEST_TIMEOUT (to the last)."
            ) from None

    def _progress(self, order: _Order) -> Progress:
        state, estimate = self._pool.stage(order.spec.key)
        stage = state.value if state in (State.FETCHING, State.STARTING) else "queued"
        return Progress(
            stage, order.call.stream, estimate.done, estimate.total, estimate.seconds
        )

    # --- under the lease -------------------------------------------------------------

    async def _relayed(
        self, order: _Order, lease: Lease, first_by: float, ends: float
    ) -> AsyncGenerator[Part, None]:
        """Send the request upstream and pass on what comes. Raises `UpstreamLost`.

        The first byte is due by `first_by`: for a stream that is soon, while an answer
        in one piece may take all of the request's time.
        """
        path = order.call.route.path
        body = order.call.upstream_body(lease.engine.served_name, order.salt)
        request = UpstreamRequest("POST", lease.engine.url + path, _JSON, body)
        async with AsyncExitStack() as stack:
            async with self._until(first_by):
                upstream = await stack.enter_async_context(self._relay.open(request))
            if upstream.status >= 400:
                async with self._until(ends):
                    content = await _read(upstream)
                lease.answered = True
                status, content = engine_error(upstream.status, content, self._local_paths)
                yield Head(status, _JSON)
                yield Body(content)
                return
            chunks = upstream.chunks()
            # SGLang sends the head before it has generated anything: an engine that dies
            # in between has said nothing yet.
            chunk = await self._next(chunks, first_by)
            yield Head(upstream.status, upstream.headers)
            while chunk is not None:
                yield Body(chunk)
                chunk = await self._next(chunks, ends)
            lease.answered = True

    async def _next(self, chunks: AsyncIterator[bytes], deadline: float) -> bytes | None:
        async with self._until(deadline):
            return await anext(chunks, None)


async def _read(upstream: UpstreamResponse) -> bytes:
    content = b""
    async for chunk in upstream.chunks():
        content += chunk
        if len(content) > _LONGEST_ERROR:
            break
    return content


def _card(model: OperatorModel, loaded: Sequence[EngineSpec]) -> ModelCard:
    repo_id = model.ref.repo_id if model.ref else None
    up = any(spec.model.repo_id == repo_id for spec in loaded)
    return ModelCard(model.name, repo_id.partition("/")[0] if repo_id else "operator", up)


def _wrong_endpoint(model: ResolvedModel, path: str) -> WrongEndpoint:
    fitting = ", ".join(route.path for route in ROUTES.values() if model.task in route.tasks)
    return WrongEndpoint(
        f"{model.repo_id} is a model to {model.task} with, which {path} is not for. "
        f"Use {fitting}."
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
