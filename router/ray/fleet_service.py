"""Serves requests at an ingress, from body to response; other workers have the engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import orjson

from router.access.authorize import Admission
from router.clock import Clock
from router.config.catalog import Catalog
from router.config.settings import Settings
from router.fleet.session import session_key
from router.ray.messages import Errand, RoutePlan
from router.ray.replica_call import ReplicaCall, Replicas
from router.ray.warm_models import label
from router.requests.call import Call, caller_token
from router.requests.deadlines import Deadlines
from router.requests.event_stream import EventStream
from router.requests.interfaces import Health
from router.requests.listing import LoadedModel, ModelListing
from router.requests.model_list import ModelCard
from router.requests.opening import Opening, Responding
from router.requests.parsing import Parser
from router.requests.request import Report, Request
from router.requests.response import SILENCE
from router.side_process import Aside

_LONGEST_LOOK = 64 * 1024  # bytes; a larger body is not parsed for its session


class FleetService:
    """Implements `Backend` in front of replicas. Each replica authorizes the request again.

    `loaded` returns the models that any replica has loaded, as far as is known here. `ready`
    returns whether a replica is ready.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog,
        admission: Admission,
        replicas: Replicas,
        name: str,
        label_of: Callable[[str], str],
        loaded: Callable[[], Sequence[LoadedModel]],
        ready: Callable[[], bool],
        aside: Aside,
        clock: Clock,
        routed: Callable[[RoutePlan], None] = lambda _: None,
        silence: float = SILENCE,
    ) -> None:
        """`name` is unique to this ingress. `label_of`: see `Keyring.label`. `routed`: see
        `ReplicaCall`. `silence` is in seconds."""
        self._settings, self._admission, self._replicas = settings, admission, replicas
        self._name, self._label_of = name, label_of
        self._loaded, self._ready = loaded, ready
        self._clock, self._silence, self._routed = clock, silence, routed
        self._listing = ModelListing(catalog, admission)
        self._parser = Parser(aside, settings.media_domains, settings.max_body_bytes)
        self.leaving = False

    def open(self, request: Request, report: Report | None = None) -> Opening:
        """Answer one request. Raises `RouterError` before there is a response."""
        return Opening(self.respond, request, report)

    async def respond(self, request: Request, _: Report | None) -> Responding:
        now = self._clock()
        deadlines = Deadlines.of(self._settings, now)
        call = await self._parser.read(request, deadlines.first_byte - now)
        record = request.record
        record.parsed(stream=call.stream, prompt_guess=call.longest.guess)
        token = caller_token(request.hf_token, call.hf_token)
        source = ReplicaCall(
            self._replicas,
            authorize=partial(self._plan, request, call),
            errand=Errand(
                self._name,
                call.route.path,
                record.id,
                self._label_of(request.caller),
                None if token is None else token.reveal(),
                record.trace,
            ),
            body=call.onward_body,
            stream=call.stream,
            deadlines=deadlines,
            record=record,
            clock=self._clock,
            routed=self._routed,
        )
        dialect = call.route.dialect
        events = None
        if call.stream:
            events = EventStream(dialect, str, record.errs)
            record.follows(events)
        end = asyncio.get_running_loop().time() + deadlines.end - self._clock()
        return Responding(source, dialect, events, end=end, silence=self._silence)

    async def models(self, hf_token: str | None, caller: str = "") -> Sequence[ModelCard]:
        return await self._listing.all(self._loaded(), hf_token, caller)

    async def model(self, name: str, hf_token: str | None, caller: str = "") -> ModelCard:
        return await self._listing.one(name, self._loaded(), hf_token, caller)

    def health(self) -> Health:
        return Health(self._ready(), self.leaving)

    async def _plan(self, request: Request, call: Call) -> RoutePlan:
        """Authorize the request first: before that, nothing is sent or said about the model."""
        token = caller_token(request.hf_token, call.hf_token)
        admitted = await self._admission.admit(call.model, token, request.caller)
        caller = self._admission.caller(request.caller, token)
        request.record.authorized(admitted.model.repo_id, caller)
        return RoutePlan(label(admitted.model.repo_id), _session(call, caller))


def _session(call: Call, caller: str) -> str:
    content = call.content
    if not isinstance(content, bytes) or len(content) > _LONGEST_LOOK:
        first = content if isinstance(content, bytes) else content[0]
        return session_key({"text": first[:_LONGEST_LOOK].hex()}, caller)
    fields: Mapping[str, object] = orjson.loads(content)
    return session_key(fields, caller)
