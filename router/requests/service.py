"""Serves one request, from body to response: read, authorize, call an engine.

It does not depend on a transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from router.access.authorize import Admission
from router.clock import Clock
from router.config.catalog import Catalog, OperatorModel
from router.config.settings import Settings
from router.local_paths import hide_paths
from router.models import EngineSpec
from router.pool.pool import EnginePool
from router.requests.authorization import Authorizer
from router.requests.deadlines import Deadlines
from router.requests.engine_call import EngineAccess, EngineCall
from router.requests.event_stream import EventStream
from router.requests.fitting import check_served
from router.requests.interfaces import Health, Upstream
from router.requests.listing import LoadedModel, ModelListing
from router.requests.model_list import ModelCard
from router.requests.opening import Opening, Responding
from router.requests.parsing import Parser
from router.requests.request import Report, Request
from router.requests.response import SILENCE
from router.secrets import Token
from router.side_process import Aside


@dataclass(frozen=True, slots=True)
class Loadable:
    """An engine that the operator may start. `credential`: for the download."""

    spec: EngineSpec
    credential: Token | None


class Service:
    """Implements `Backend` with an admission and a pool."""

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog,
        admission: Admission,
        pool: EnginePool,
        upstream: Upstream,
        aside: Aside,
        flags: tuple[str, ...],
        salt: bytes,
        clock: Clock,
        silence: float = SILENCE,
        progress_every: float = 5.0,
    ) -> None:
        """Arguments:

        * `aside`: parses large bodies.
        * `flags`: go to every engine.
        * `salt`: a secret of this process; prefix cache namespaces are derived from it.
        * `silence`: maximum seconds without data in a stream.
        * `progress_every`: seconds between progress reports.
        """
        self._settings, self._catalog, self._admission = settings, catalog, admission
        self._pool, self._clock = pool, clock
        self._authorizer = Authorizer(settings, admission, flags, salt)
        self._silence, self._listing = (
            silence,
            ModelListing(catalog, admission, pool.view.known),
        )
        self._parser = Parser(aside, settings.media_domains, settings.max_body_bytes)
        self._local_paths = {str(settings.hf_hub_cache)}
        self.note_directories()
        self._hide_paths = partial(hide_paths, local_paths=self._local_paths)
        self._access = EngineAccess(
            pool, upstream, self._authorizer, clock, self._hide_paths, progress_every
        )
        self.ready = False
        self.leaving = False

    def open(self, request: Request, report: Report | None = None) -> Opening:
        """Answer one request. Raises `RouterError` before there is a response.

        Leaving the block ends the request at any time and frees what it held.
        """
        return Opening(self.respond, request, report)

    async def respond(self, request: Request, report: Report | None) -> Responding:
        """Read a request. The result answers it."""
        now = self._clock()
        deadlines = Deadlines.of(self._settings, now)
        call = await self._parser.read(request, deadlines.first_byte - now)
        record = request.record
        record.parsed(stream=call.stream, prompt_guess=call.longest.guess)
        sender = self._authorizer.sender(request.caller, request.hf_token, call)
        heard = None if call.stream else report  # a stream has comments instead
        engine = EngineCall(
            self._access,
            call,
            sender,
            deadlines,
            report=heard,
            record=record,
        )
        dialect = call.route.dialect
        events = None
        if call.stream:
            events = EventStream(dialect, self._hide_paths, record.errs)
            record.follows(events)
        left = deadlines.end - self._clock()
        end = asyncio.get_running_loop().time() + left
        return Responding(engine, dialect, events, end=end, silence=self._silence)

    def loaded(self) -> Sequence[LoadedModel]:
        """The models that answer at once, in the order of their first requests."""
        view = self._pool.view
        return [LoadedModel(one, view.context_length(one.key)) for one in view.loaded()]

    async def models(self, hf_token: str | None, caller: str = "") -> Sequence[ModelCard]:
        """The operator's models, and the loaded ones that this caller may use."""
        return await self._listing.all(self.loaded(), hf_token, caller)

    async def model(self, name: str, hf_token: str | None, caller: str = "") -> ModelCard:
        """One model, under the requested name. Raises the same errors as a request for it."""
        return await self._listing.one(name, self.loaded(), hf_token, caller)

    def health(self) -> Health:
        return Health(self.ready, self.leaving)

    def note_directories(self) -> None:
        """Hide the catalog's current directories from callers. Earlier ones stay hidden,
        because their engines may still run."""
        sources = (model.source for model in self._catalog.models)
        self._local_paths.update(str(one) for one in sources if isinstance(one, Path))

    async def preload(self, model: OperatorModel) -> None:
        """Start an operator's model, and return when it is ready. Raises `RouterError`."""
        await self.load(await self.to_load(model.name))

    async def to_load(self, name: str) -> Loadable:
        """Resolve a name without a request or a caller's token: an operator's model, or a model
        that the worker's token may serve. Raises `RouterError`."""
        admitted = await self._admission.admit(name, None)
        spec = self._authorizer.spec(admitted)
        check_served(spec.model)
        return Loadable(spec, admitted.download_credential)

    async def load(self, what: Loadable) -> None:
        """Start the engine, and return when it is ready. Raises `RouterError`."""
        deadline = self._clock() + self._settings.queue_timeout
        with self._pool.lease(what.spec, what.credential, deadline=deadline) as lease:
            await lease.granted()
