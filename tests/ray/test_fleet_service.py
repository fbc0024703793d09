from __future__ import annotations

import orjson
import pytest

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.config.operator_models import catalog
from router.config.settings import Settings
from router.errors import AccessError, RouterError
from router.models import EngineSpec
from router.ray.fleet_service import FleetService
from router.ray.messages import AnswerEnd, AnswerHead, Errand, RoutePlan
from router.ray.warm_models import label
from router.requests.listing import LoadedModel
from router.requests.request import Request
from router.side_process import Body
from tests.doubles import FakeAside, FakeHub, UncachedHub, whole
from tests.pool.fakes import FakeClock
from tests.ray.test_replica_call import Scripted
from tests.requests.harness import CHAT, chat, token

HEAD = AnswerHead(200, {"content-type": "application/json"}, streams=False)


class Listening:
    """Replicas that answer everything and remember it."""

    def __init__(self) -> None:
        self.sent: list[tuple[RoutePlan, Errand, Body]] = []

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> Scripted:
        self.sent.append((plan, errand, body))
        return Scripted([HEAD, b'{"id": 1}', AnswerEnd()])


class Fleet:
    def __init__(self, **environ: str) -> None:
        self.hub, self.replicas = FakeHub(), Listening()
        self.hub.add("org/model")
        settings, clock = Settings.from_environ(environ), FakeClock()
        models = catalog(settings)
        admission = Admission(
            UncachedHub(self.hub),
            catalog=models,
            credentials=Credentials.read(settings, models, environ),
            allowed=settings.allowed_models,
            running=lambda _: set(),
            clock=clock,
        )
        self.loaded: list[LoadedModel] = []
        self.service = FleetService(
            settings,
            catalog=models,
            admission=admission,
            replicas=self.replicas,
            name="ingress",
            label_of=lambda caller: f"label of {caller}",
            loaded=lambda: self.loaded,
            ready=lambda: True,
            aside=FakeAside(),
            clock=clock,
        )

    async def ask(self, request: Request) -> bytes:
        async with self.service.open(request) as response:
            return b"".join([data async for data in response])


async def test_an_answer_passes_through() -> None:
    assert await Fleet().ask(chat()) == b'{"id": 1}'


@pytest.mark.parametrize(
    "request_",
    [
        chat("org/missing"),
        chat("org/private"),
        chat("org/private", hf_token="hf_of_a_stranger"),
        chat("no name"),
        chat(None),
        chat(hf_token="short"),
        chat(max_tokens="many"),
        Request("/flush_cache", b"{}"),
    ],
)
async def test_what_is_refused_reaches_no_replica(request_: Request) -> None:
    fleet = Fleet()
    fleet.hub.add("org/private", token())
    with pytest.raises(RouterError):
        await fleet.ask(request_)
    assert not fleet.replicas.sent


async def test_a_model_outside_of_the_operators_list_reaches_no_replica() -> None:
    fleet = Fleet(ALLOWED_MODELS="other/*")
    with pytest.raises(AccessError):
        await fleet.ask(chat())
    assert not fleet.replicas.sent


@pytest.mark.parametrize("place", ["header", "body"])
async def test_a_token_goes_beside_the_body(place: str) -> None:
    fleet, own = Fleet(), token()
    fleet.hub.add("org/private", own)
    request = chat("org/private", hf_token=own.reveal() if place == "body" else None)
    if place == "header":
        request = Request(CHAT, request.body, own.reveal())
    await fleet.ask(request)
    ((_, errand, body),) = fleet.replicas.sent
    assert errand.hf_token == own.reveal()
    assert own.reveal().encode() not in whole(body)


async def test_a_replica_is_told_who_calls_what_and_under_which_id() -> None:
    fleet = Fleet()
    request = Request(CHAT, chat(temperature=0.5).body, None, "caller")
    request.record.id = "my-id"
    await fleet.ask(request)
    ((plan, errand, body),) = fleet.replicas.sent
    assert plan.model == label("org/model")
    assert errand == Errand("ingress", CHAT, "my-id", "label of caller")
    assert orjson.loads(whole(body)) == {
        "model": "org/model",
        "messages": [],
        "temperature": 0.5,
    }


async def test_a_model_that_is_loaded_anywhere_is_shown_to_those_who_may_use_it() -> None:
    fleet, own, strange = Fleet(), token(), token()
    private = fleet.hub.add("org/private", own)
    fleet.loaded = [LoadedModel(EngineSpec(private, ()))]

    async def shown(hf_token: str | None) -> list[str]:
        return [card.id for card in await fleet.service.models(hf_token)]

    assert await shown(own.reveal()) == ["org/private"]
    for hf_token in (strange.reveal(), None):
        assert await shown(hf_token) == []
        with pytest.raises(RouterError) as refused:
            await fleet.service.model("org/private", hf_token)
        with pytest.raises(RouterError) as missing:
            await fleet.service.model("org/missing", hf_token)
        assert refused.value.code == missing.value.code


async def test_requests_that_begin_alike_are_one_session() -> None:
    fleet = Fleet()

    def said(*texts: str) -> Request:
        return chat(messages=[{"role": "user", "content": text} for text in texts])

    for request in (said("a"), said("a", "b"), said("b")):
        await fleet.ask(request)
    one, same, other = (plan.session for plan, _, _ in fleet.replicas.sent)
    assert one == same
    assert one != other
    assert "a" not in (one, other)


async def test_a_long_body_has_a_session_too() -> None:
    fleet = Fleet()
    for text in ("a" * 100_000, "b" * 100_000):
        await fleet.ask(chat(messages=[{"role": "user", "content": text}]))
    one, other = (plan.session for plan, _, _ in fleet.replicas.sent)
    assert one
    assert one != other
