from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest

from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.config.models_file import catalog
from router.config.settings import Settings
from router.errors import (
    DeadlineExceeded,
    EngineFailed,
    HubUnavailable,
    InvalidHfToken,
    ModelNotFound,
    RateLimited,
    RouteNotFound,
    RouterError,
    WrongEndpoint,
)
from router.models import Task
from router.pool.pool import EnginePool
from router.requests.response import Body, Head, Part, Progress, Request
from router.requests.service import Service
from router.scheduler.machine import Scheduler
from router.scheduler.state import Limits
from router.secrets import Token
from tests.doubles import Answer, FakeHub, FakeRelay
from tests.pool.fakes import GIB, FakeClock, FakeDownloader, FakeGauge, FakeLauncher, settle

CHAT = "/v1/chat/completions"
SSE = {"Content-Type": "text/event-stream"}


class Desk:
    """A service on fakes. `parts` holds what one request got."""

    def __init__(
        self, relay: FakeRelay, environ: Mapping[str, str], limits: Mapping[str, int]
    ) -> None:
        self.hub, self.relay, self.clock = FakeHub(), relay, FakeClock()
        self.gauge, self.downloader = FakeGauge(), FakeDownloader()
        self.launcher = FakeLauncher(self.gauge)
        self.downloader.instant = self.launcher.instant = True
        settings = Settings.from_environ(environ)
        models = catalog(settings)
        self.pool = EnginePool(
            Scheduler(Limits(budget=100 * GIB, max_loaded=1, min_residency=0.0, **limits)),
            downloader=self.downloader,
            launcher=self.launcher,
            gauge=self.gauge,
            clock=self.clock,
        )
        admission = Admission(
            self.hub,
            catalog=models,
            credentials=Credentials.read(settings, models, environ),
            allowed=settings.allowed_models,
            running=self.pool.running,
            clock=self.clock,
        )
        self.service = Service(
            settings,
            catalog=models,
            admission=admission,
            pool=self.pool,
            relay=relay,
            flags=(),
            salt=b"salt",
            clock=self.clock,
        )

    async def ask(self, request: Request) -> list[Part]:
        async with aclosing(self.service.answer(request)) as parts:
            return [part async for part in parts]

    @property
    def in_flight(self) -> int:
        return sum(len(slot.leases) for slot in self.pool._scheduler.slots.values())

    def sent(self, number: int = -1) -> dict[str, object]:
        body = orjson.loads(self.relay.sent[number].body or b"")
        assert isinstance(body, dict)
        return body


@asynccontextmanager
async def desk(
    *answers: Answer, limits: Mapping[str, int] | None = None, **environ: str
) -> AsyncIterator[Desk]:
    made = Desk(FakeRelay(*answers), environ, limits or {})
    made.hub.add("org/model")
    try:
        yield made
    finally:
        assert made.in_flight == 0, "a lease outlived its request"
        assert made.relay.open_now == 0, "an exchange outlived its request"
        made.pool._scheduler.validate()
        await made.pool.shut_down(0.0)
        assert not made.launcher.alive


def chat(model: str | None = "org/model", route: str = CHAT, **fields: object) -> Request:
    named = {} if model is None else {"model": model}
    return Request(route, orjson.dumps({**named, "messages": [], **fields}))


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


async def test_an_answer_passes_through_byte_for_byte() -> None:
    chunks = (b"data: \xe2\x82", b"\xac\n\n", b"data: [DONE]\n\n")
    async with desk(Answer(chunks, headers=SSE)) as d:
        head, *body = await d.ask(chat(stream=True))
    assert head == Head(200, SSE)
    assert [part.data for part in body if isinstance(part, Body)] == list(chunks)


async def test_what_goes_upstream_names_the_engines_model_and_holds_no_token() -> None:
    async with desk() as d:
        secret = token().reveal()
        await d.ask(chat(hf_token=secret, temperature=0))
    assert d.sent()["model"] == "org/model"
    assert d.sent()["temperature"] == 0
    assert secret not in str(d.relay.sent)


async def test_the_prefix_cache_is_kept_apart_by_caller() -> None:
    mine, other = token().reveal(), token().reveal()
    async with desk() as d:
        for hf_token, caller in (
            (mine, ""),
            (mine, ""),
            (other, ""),
            (mine, "key"),
            (None, ""),
        ):
            await d.ask(Request(CHAT, chat().body, hf_token, caller))
        salts = [d.sent(number).get("cache_salt") for number in range(5)]
    assert salts[0] == salts[1]
    assert len(set(salts)) == 4
    assert salts[4] is None
    assert mine not in str(salts)


async def test_a_caller_without_rights_starts_nothing() -> None:
    async with desk() as d:
        d.hub.add("org/private", token())
        with pytest.raises(ModelNotFound):
            await d.ask(chat("org/private"))
        assert not d.downloader.calls
        assert not d.launcher.starts


async def test_a_model_that_does_not_fit_the_route_is_refused_before_anything_starts() -> None:
    async with desk() as d:
        d.hub.add("org/embedder", task=Task.EMBED)
        with pytest.raises(WrongEndpoint, match="/v1/embeddings"):
            await d.ask(chat("org/embedder"))
        assert not d.downloader.calls


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/score", "/v1/rerank"])
async def test_strictly_isolated_a_route_without_a_salt_is_switched_off(path: str) -> None:
    async with desk(STRICT_CACHE_ISOLATION="1") as d:
        d.hub.add("org/model")
        d.hub.add("org/judge", task=Task.CLASSIFY)
        with pytest.raises(RouteNotFound, match="STRICT_CACHE_ISOLATION"):
            await d.ask(Request(path, b'{"model": "org/model"}'))
        assert not d.downloader.calls
        if path != "/v1/messages":
            assert await d.ask(Request(path, b'{"model": "org/judge"}'))


async def test_bad_input_is_refused_before_the_hub_is_asked() -> None:
    async with desk() as d:
        for request, error in (
            (Request("/v1/none", b"{}"), RouteNotFound),
            (Request(CHAT, chat().body, hf_token="Bearer x"), InvalidHfToken),
        ):
            with pytest.raises(error):
                await d.ask(request)
        assert not d.hub.asked


async def test_a_request_whose_engine_died_before_it_said_a_word_is_sent_again_unseen() -> None:
    async with desk(Answer(lost_after=0), Answer((b"fine",))) as d:
        parts = await d.ask(chat())
        assert [part.data for part in parts if isinstance(part, Body)] == [b"fine"]
        assert len(d.relay.sent) == 2


async def test_it_is_sent_to_a_fresh_engine_where_the_old_one_is_dead() -> None:
    async with desk(Answer(), Answer(refuses=True), Answer((b"fine",))) as d:
        await d.ask(chat())
        d.launcher.engine("model").healthy = False
        asking = asyncio.create_task(d.ask(chat()))
        await settle()
        d.clock.advance(1.0)  # the cool-down after a crash
        d.pool.tick()
        await asking
        first, *_, last = (request.url for request in d.relay.sent)
        assert first != last


async def test_a_request_that_no_engine_survives_fails_after_two_tries() -> None:
    async with desk(Answer(refuses=True)) as d:
        with pytest.raises(EngineFailed, match="twice"):
            await d.ask(chat())
        assert len(d.relay.sent) == 2


async def test_an_answer_that_broke_off_is_not_begun_again() -> None:
    async with desk(Answer((b"data: 1\n\n",), lost_after=1)) as d:
        async with aclosing(d.service.answer(chat(stream=True))) as parts:
            assert isinstance(await anext(parts), Head)
            assert await anext(parts) == Body(b"data: 1\n\n")
            with pytest.raises(EngineFailed, match="middle"):
                await anext(parts)
        assert len(d.relay.sent) == 1


async def test_an_engines_error_comes_in_the_envelope_without_its_paths() -> None:
    content = orjson.dumps({"object": "error", "message": "bad file /secret/place/x"})
    async with desk(Answer((content,), status=400)) as d:
        head, body = await d.ask(chat())
    assert isinstance(head, Head)
    assert isinstance(body, Body)
    assert head.status == 400
    assert "bad file" in orjson.loads(body.data)["error"]["message"]
    assert b"/secret" not in body.data


async def test_closing_the_answer_ends_the_exchange_and_the_lease() -> None:
    async with desk(Answer((b"one",), headers=SSE, hangs=True)) as d:
        answer = d.service.answer(chat(stream=True))
        await anext(answer)
        assert (d.in_flight, d.relay.open_now) == (1, 1)
        await answer.aclose()
        assert (d.in_flight, d.relay.open_now) == (0, 0)


async def test_a_caller_who_leaves_while_the_engine_thinks_frees_everything() -> None:
    async with desk(Answer((), hangs=True)) as d:
        asking = asyncio.create_task(d.ask(chat()))
        await settle()
        assert d.in_flight == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_an_answer_that_takes_too_long_ends_with_an_error() -> None:
    async with desk(Answer((b"one",), hangs=True), REQUEST_TIMEOUT="0.05") as d:
        with pytest.raises(DeadlineExceeded, match="REQUEST_TIMEOUT"):
            await d.ask(chat())


async def test_the_models_are_the_operators_and_the_loaded_ones_that_the_caller_may_use() -> (
    None
):
    config = "[{model: org/listed, aliases: [nice-name]}, {model: /models/local}]"
    async with desk(MODELS_CONFIG=config) as d:
        owner = token()
        d.hub.add("org/private", owner)
        await d.ask(Request(CHAT, chat("org/private").body, owner.reveal()))
        for who, sees in ((owner.reveal(), {"org/private"}), (None, set())):
            cards = {card.id: card.loaded for card in await d.service.models(who, "")}
            assert cards.keys() == {"nice-name", "local"} | sees
            assert not cards["nice-name"]


async def test_the_operators_models_are_shown_as_loaded_when_their_own_engine_is() -> None:
    config = "[{model: org/model, aliases: [nice]}]"
    async with desk(MODELS_CONFIG=config) as d:
        await d.ask(chat("org/model@" + "1" * 40))  # a stranger's engine, beside the entry
        assert [(c.id, c.loaded) for c in await d.service.models(None, "")] == [
            ("nice", False),
            ("org/model", True),
        ]
        await d.ask(chat("nice"))
        cards = {card.id: card.loaded for card in await d.service.models(None, "")}
        assert cards["nice"]
        assert (await d.service.model("nice", None, "")).loaded


async def test_one_model_is_shown_to_those_who_may_use_it() -> None:
    async with desk() as d:
        owner = token()
        d.hub.add("org/private", owner)
        assert not (await d.service.model("org/model", None, "")).loaded
        await d.ask(chat())
        assert (await d.service.model("org/model", None, "")).loaded
        assert (await d.service.model("org/private", owner.reveal(), "")).id == "org/private"
        errors: list[RouterError] = []
        for name in ("org/private", "org/missing"):
            with pytest.raises(ModelNotFound) as refused:
                await d.service.model(name, None, "")
            errors.append(refused.value)
        assert errors[0].message.replace("private", "missing") == errors[1].message


async def test_who_waits_is_told_for_what_and_whether_it_is_a_stream() -> None:
    async with desk() as d:
        d.downloader.instant = False
        d.service._progress_every = 0.001
        async with aclosing(d.service.answer(chat(stream=True))) as parts:
            fetching = await anext(parts)
            assert fetching == Progress("fetching", stream=True, done=1, total=2)
            d.downloader.finish("model")
            assert [type(part) async for part in parts][-2:] == [Head, Body]


async def test_rights_that_end_while_a_request_waits_end_the_request() -> None:
    mine = token()
    async with desk(QUEUE_TIMEOUT="60") as d:
        d.hub.add("org/private", mine)
        d.launcher.instant = False
        d.service._progress_every = 0.0
        request = Request(CHAT, chat("org/private").body, mine.reveal())
        async with aclosing(d.service.answer(request)) as parts:
            assert isinstance(await anext(parts), Progress)
            d.hub.down = True
            assert isinstance(await anext(parts), Progress)  # silence ends nothing yet
            d.hub.down = False
            d.hub.add("org/private", token())
            with pytest.raises(ModelNotFound):
                await anext(parts)
        assert not d.relay.sent


@pytest.mark.parametrize("refusal", ["withdrawn", "silence"])
async def test_who_waited_is_asked_about_once_more_before_the_engine_is(refusal: str) -> None:
    mine = token()
    async with desk(QUEUE_TIMEOUT="60") as d:
        d.hub.add("org/private", mine)
        d.launcher.instant = False
        d.service._progress_every = 0.0
        request = Request(CHAT, chat("org/private").body, mine.reveal())
        async with aclosing(d.service.answer(request)) as parts:
            assert isinstance(await anext(parts), Progress)
            await settle()
            d.launcher.ready("private")
            if refusal == "withdrawn":
                d.hub.add("org/private", token())
            else:
                d.hub.down = True
            await settle()
            with pytest.raises(ModelNotFound if refusal == "withdrawn" else HubUnavailable):
                assert [part async for part in parts]
        assert not d.relay.sent


async def test_the_operators_models_go_on_waiting_while_the_hub_is_silent() -> None:
    async with desk(MODEL_NAME="org/model") as d:
        d.launcher.instant = False
        d.service._progress_every = 0.0
        async with aclosing(d.service.answer(chat(None))) as parts:
            assert isinstance(await anext(parts), Progress)
            await settle()
            d.hub.down = True
            d.launcher.ready("model")
            await settle()
            assert isinstance(await anext(parts), Head)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((None, "key"), (None, "key"), True),
        ((None, "key"), (None, "other key"), False),
        (("mine", "key"), ("other", "key"), True),  # an API key is who calls
        (("mine", ""), ("mine", ""), True),
        (("mine", ""), ("other", ""), False),
        (("mine", ""), (None, ""), False),
        ((None, ""), (None, ""), True),
    ],
)
async def test_limits_are_for_a_key_a_token_or_all_who_bring_neither(
    first: tuple[str | None, str], second: tuple[str | None, str], *, same: bool
) -> None:
    tokens = {name: token().reveal() for name in ("mine", "other")}
    async with desk(limits={"max_starts_per_caller": 1}) as d:
        d.hub.add("org/further")

        async def ask(model: str, who: tuple[str | None, str]) -> None:
            hf_token, key = who
            await d.ask(Request(CHAT, chat(model).body, tokens.get(hf_token or ""), key))

        await ask("org/model", first)
        if same:
            with pytest.raises(RateLimited):
                await ask("org/further", second)
        else:
            await ask("org/further", second)


async def test_a_preloaded_model_is_up_before_anybody_asks() -> None:
    async with desk(MODEL_NAME="org/model") as d:
        (model,) = catalog(Settings.from_environ({"MODEL_NAME": "org/model"})).models
        await d.service.preload(model)
        assert [spec.model.repo_id for spec in d.pool.loaded()] == ["org/model"]
