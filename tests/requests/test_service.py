from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from router.config.operator_models import catalog
from router.config.settings import Settings
from router.errors import (
    DeadlineExceeded,
    EngineFailed,
    HubUnavailable,
    InvalidHfToken,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    RouteNotFound,
    RouterError,
    UnsupportedModel,
    WrongEndpoint,
)
from router.models import Task
from router.requests.request import Progress, Request
from tests.doubles import Answer
from tests.pool.fakes import settle
from tests.requests.harness import CHAT, SSE, ServiceHarness, chat, serving_fakes, token


async def test_an_answer_passes_through_byte_for_byte() -> None:
    chunks = (b'{"a": "\xe2\x82', b'\xac"', b"}")
    async with serving_fakes(Answer(chunks, headers={"content-type": "application/json"})) as d:
        got = await d.ask(chat())
    assert (got.status, got.headers) == (200, {"content-type": "application/json"})
    assert got.pieces == list(chunks)


async def test_a_stream_passes_through_byte_for_byte_in_whole_events() -> None:
    chunks = (b"data: \xe2\x82", b"\xac\n\n", b"data: [DONE]\n\n")
    async with serving_fakes(Answer(chunks, headers=SSE)) as d:
        got = await d.ask(chat(stream=True))
    assert got.pieces == [b"data: \xe2\x82\xac\n\n", b"data: [DONE]\n\n"]


async def test_what_goes_upstream_names_the_engines_model_and_holds_no_token() -> None:
    async with serving_fakes() as d:
        secret = token().reveal()
        await d.ask(chat(hf_token=secret, temperature=0))
    assert d.sent()["model"] == "org/model"
    assert d.sent()["temperature"] == 0
    assert secret not in str(d.upstream.sent)


async def test_the_prefix_cache_is_kept_apart_by_caller() -> None:
    mine, other = token().reveal(), token().reveal()
    async with serving_fakes() as d:
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
    async with serving_fakes() as d:
        d.hub.add("org/private", token())
        with pytest.raises(ModelNotFound):
            await d.ask(chat("org/private"))
        assert not d.downloader.calls
        assert not d.launcher.starts


async def test_a_model_that_does_not_fit_the_route_is_refused_before_anything_starts() -> None:
    async with serving_fakes() as d:
        d.hub.add("org/embedder", task=Task.EMBED)
        with pytest.raises(WrongEndpoint, match="/v1/embeddings"):
            await d.ask(chat("org/embedder"))
        assert not d.downloader.calls


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/tokenize"])
async def test_a_speech_model_is_refused_with_the_reason_before_anything_starts(
    path: str,
) -> None:
    async with serving_fakes() as d:
        d.hub.add("org/whisper", task=Task.TRANSCRIBE)
        with pytest.raises(UnsupportedModel, match="no /v1/audio/transcriptions"):
            await d.ask(Request(path, b'{"model": "org/whisper"}'))
        assert not d.downloader.calls


async def test_a_speech_model_is_a_secret_to_a_caller_without_rights() -> None:
    async with serving_fakes() as d:
        d.hub.add("org/whisper", token(), task=Task.TRANSCRIBE)
        with pytest.raises(ModelNotFound):
            await d.ask(chat("org/whisper"))


async def test_a_speech_model_is_not_preloaded() -> None:
    default = catalog(Settings.from_environ({"MODEL_NAME": "org/whisper"})).default
    assert default is not None
    async with serving_fakes(MODEL_NAME="org/whisper") as d:
        d.hub.add("org/whisper", task=Task.TRANSCRIBE)
        with pytest.raises(UnsupportedModel, match="speech"):
            await d.service.preload(default)
        assert not d.downloader.calls


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/score", "/v1/rerank"])
async def test_strictly_isolated_a_route_without_a_salt_is_switched_off(path: str) -> None:
    async with serving_fakes(STRICT_CACHE_ISOLATION="1") as d:
        d.hub.add("org/model")
        d.hub.add("org/judge", task=Task.CLASSIFY)
        with pytest.raises(RouteNotFound, match="STRICT_CACHE_ISOLATION"):
            await d.ask(Request(path, b'{"model": "org/model"}'))
        assert not d.downloader.calls
        if path != "/v1/messages":
            assert await d.ask(Request(path, b'{"model": "org/judge"}'))


async def test_bad_input_is_refused_before_the_hub_is_asked() -> None:
    async with serving_fakes() as d:
        for request, error in (
            (Request("/v1/none", b"{}"), RouteNotFound),
            (Request(CHAT, chat().body, hf_token="Bearer x"), InvalidHfToken),
        ):
            with pytest.raises(error):
                await d.ask(request)
        assert not d.hub.asked


async def test_a_request_beyond_the_models_vocabulary_never_reaches_its_engine() -> None:
    async with serving_fakes() as d:
        with pytest.raises(InvalidRequest) as refused:
            await d.ask(chat(logit_bias={"32000": 1}))
        assert refused.value.param == "logit_bias"
        assert not d.upstream.sent
        await d.ask(chat(logit_bias={"31999": 1}))


async def test_a_request_whose_engine_died_before_it_said_a_word_is_sent_again_unseen() -> None:
    async with serving_fakes(Answer(lost_after=0), Answer((b"fine",))) as d:
        assert (await d.ask(chat())).body == b"fine"
        assert len(d.upstream.sent) == 2


async def test_it_is_sent_to_a_fresh_engine_where_the_old_one_is_dead() -> None:
    async with serving_fakes(Answer(), Answer(refuses=True), Answer((b"fine",))) as d:
        await d.ask(chat())
        d.launcher.engine("model").healthy = False
        asking = asyncio.create_task(d.ask(chat()))
        await settle()
        d.clock.advance(1.0)  # the cool-down after a crash
        d.pool.tick()
        await asking
        first, *_, last = (request.url for request in d.upstream.sent)
        assert first != last


async def test_a_dead_engine_that_never_saw_a_request_is_not_blamed_on_its_caller() -> None:
    """The worker once noticed the death late, and refused such requests if callers shared."""
    answers = (Answer(), Answer(), Answer(refuses=True), Answer((b"fine",)))
    async with serving_fakes(*answers) as d:
        await d.ask(replace(chat(), caller="a"))
        await d.ask(replace(chat(), caller="b"))
        d.launcher.engine("model").healthy = False
        d.clock.advance(60.0)  # so that no earlier request is a suspect
        asking = asyncio.create_task(d.ask(replace(chat(), caller="a")))
        await settle()
        d.clock.advance(1.0)
        d.pool.tick()
        assert (await asking).body == b"fine"


async def test_a_request_that_no_engine_survives_fails_after_two_tries() -> None:
    async with serving_fakes(Answer(refuses=True)) as d:
        with pytest.raises(EngineFailed, match="twice"):
            await d.ask(chat())
        assert len(d.upstream.sent) == 2


async def test_an_answer_that_broke_off_is_not_begun_again() -> None:
    async with serving_fakes(Answer((b'{"a"',), lost_after=1)) as d:
        async with d.service.open(chat()) as response:
            assert await anext(aiter(response)) == b'{"a"'
            with pytest.raises(EngineFailed, match="middle"):
                await anext(aiter(response))
        assert len(d.upstream.sent) == 1


async def test_an_engines_error_comes_in_the_envelope_without_its_paths() -> None:
    content = orjson.dumps({"object": "error", "message": "bad file /secret/place/x"})
    async with serving_fakes(Answer((content,), status=400)) as d:
        got = await d.ask(chat())
    assert got.status == 400
    assert "bad file" in orjson.loads(got.body)["error"]["message"]
    assert b"/secret" not in got.body


async def test_leaving_the_response_ends_the_exchange_and_the_lease() -> None:
    answer = Answer((b"data: 1\n\n",), headers=SSE, hangs=True)
    async with serving_fakes(answer) as d:
        async with d.service.open(chat(stream=True)) as response:
            await anext(aiter(response))
            assert (d.in_flight, d.upstream.open_now) == (1, 1)
        assert (d.in_flight, d.upstream.open_now) == (0, 0)


async def test_a_caller_who_leaves_while_the_engine_thinks_frees_everything() -> None:
    async with serving_fakes(Answer((), hangs=True)) as d:
        asking = asyncio.create_task(d.ask(chat()))
        await settle()
        assert d.in_flight == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_an_answer_that_takes_too_long_ends_with_an_error() -> None:
    async with serving_fakes(Answer((b"one",), hangs=True), REQUEST_TIMEOUT="0.05") as d:
        with pytest.raises(DeadlineExceeded, match="REQUEST_TIMEOUT"):
            await d.ask(chat())


async def test_the_models_are_the_operators_and_the_loaded_ones_that_the_caller_may_use() -> (
    None
):
    config = "[{model: org/listed, aliases: [nice-name]}, {model: /models/local}]"
    async with serving_fakes(MODELS_CONFIG=config) as d:
        owner = token()
        d.hub.add("org/private", owner)
        await d.ask(Request(CHAT, chat("org/private").body, owner.reveal()))
        for who, sees in ((owner.reveal(), {"org/private"}), (None, set())):
            cards = {card.id: card.loaded for card in await d.service.models(who)}
            assert cards.keys() == {"nice-name", "local"} | sees
            assert not cards["nice-name"]


async def test_the_operators_models_are_shown_as_loaded_when_their_own_engine_is() -> None:
    config = "[{model: org/model, aliases: [nice]}]"
    async with serving_fakes(MODELS_CONFIG=config) as d:
        await d.ask(chat("org/model@" + "1" * 40))  # a stranger's engine, not the entry's
        assert [(c.id, c.loaded) for c in await d.service.models(None)] == [
            ("nice", False),
            ("org/model", True),
        ]
        await d.ask(chat("nice"))
        cards = {card.id: card.loaded for card in await d.service.models(None)}
        assert cards["nice"]
        assert (await d.service.model("nice", None)).loaded


async def test_a_loaded_model_shows_its_age_its_context_and_what_is_behind_an_alias() -> None:
    async with serving_fakes(MODELS_CONFIG="[{model: org/model, aliases: [nice]}]") as d:
        d.hub.add("org/model", created=1646263744)
        d.hub.add("org/other", created=1646263745)
        cold = await d.service.model("nice", None)
        assert (cold.root, cold.loaded, cold.max_model_len) == ("org/model", False, None)
        assert cold.created == 1646263744
        await d.ask(chat("nice"))
        loaded = await d.service.model("nice", None)
        assert (loaded.root, loaded.created, loaded.max_model_len) == (
            "org/model",
            1646263744,
            4096,
        )
        other = await d.service.model("org/other", None)
        assert (other.id, other.root, other.created) == ("org/other", "org/other", 1646263745)


async def test_the_list_says_what_a_request_for_an_operators_model_has_to_expect() -> None:
    config = "[{model: org/model, aliases: [nice]}]"

    async def shown(d: ServiceHarness) -> tuple[str, int]:
        (card,) = await d.service.models(None)
        return card.status.value, card.created

    async with serving_fakes(MODELS_CONFIG=config) as d:
        d.hub.add("org/model", created=1646263744)
        assert await shown(d) == ("unloaded", 0)  # the Hub has not been asked yet
        d.launcher.instant = False
        asking = asyncio.create_task(d.ask(chat("nice")))
        await settle()
        assert await shown(d) == ("loading", 1646263744)
        d.launcher.ready("model")
        await asking
        assert await shown(d) == ("loaded", 1646263744)
        d.pool.operated.unload(d.pool.view.loaded()[0].key)
        await settle()
        assert await shown(d) == ("unloaded", 1646263744)


async def test_a_name_that_can_not_be_a_models_is_not_found_in_the_list() -> None:
    async with serving_fakes() as d:
        for name in ("gpt-4", "a/b/c", "org/../x"):
            with pytest.raises(ModelNotFound):
                await d.service.model(name, None)


async def test_one_model_is_shown_to_those_who_may_use_it() -> None:
    async with serving_fakes() as d:
        owner = token()
        d.hub.add("org/private", owner)
        assert not (await d.service.model("org/model", None)).loaded
        await d.ask(chat())
        assert (await d.service.model("org/model", None)).loaded
        assert (await d.service.model("org/private", owner.reveal())).id == "org/private"
        errors: list[RouterError] = []
        for name in ("org/private", "org/missing"):
            with pytest.raises(ModelNotFound) as refused:
                await d.service.model(name, None)
            errors.append(refused.value)
        assert errors[0].message.replace("private", "missing") == errors[1].message


async def test_a_request_that_waits_is_told_for_what() -> None:
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with serving_fakes(progress_every=0.001) as d:
        d.downloader.instant = False
        asking = asyncio.create_task(d.ask(chat(), told.put_nowait))
        assert await told.get() == Progress("fetching", done=1, total=2, why="fetching")
        d.downloader.finish("model")
        assert (await asking).status == 200


async def test_rights_that_end_while_a_request_waits_end_the_request() -> None:
    mine = token()
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with serving_fakes(progress_every=0.001, QUEUE_TIMEOUT="60") as d:
        d.hub.add("org/private", mine)
        d.launcher.instant = False
        request = Request(CHAT, chat("org/private").body, mine.reveal())
        asking = asyncio.create_task(d.ask(request, told.put_nowait))
        await told.get()
        d.hub.down = True
        await told.get()
        await told.get()  # silence ends nothing yet
        d.hub.down = False
        d.hub.add("org/private", token())
        with pytest.raises(ModelNotFound):
            await asking
        assert not d.upstream.sent


@pytest.mark.parametrize("refusal", ["withdrawn", "silence"])
async def test_a_request_that_waited_is_authorized_once_more_before_it_is_sent(
    refusal: str,
) -> None:
    mine = token()
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with serving_fakes(progress_every=0.001, QUEUE_TIMEOUT="60") as d:
        d.hub.add("org/private", mine)
        d.launcher.instant = False
        request = Request(CHAT, chat("org/private").body, mine.reveal())
        asking = asyncio.create_task(d.ask(request, told.put_nowait))
        await told.get()
        if refusal == "withdrawn":
            d.hub.add("org/private", token())
        else:
            d.hub.down = True
        d.launcher.ready("private")
        with pytest.raises(ModelNotFound if refusal == "withdrawn" else HubUnavailable):
            await asking
        assert not d.upstream.sent


@pytest.mark.parametrize("refusal", ["withdrawn", "silence"])
async def test_a_request_whose_engine_died_is_authorized_once_more_before_it_is_sent_again(
    refusal: str,
) -> None:
    mine, thinks = token(), asyncio.Event()
    async with serving_fakes(Answer(lost_after=0, thinks=thinks), Answer()) as d:
        d.hub.add("org/private", mine)
        request = Request(CHAT, chat("org/private").body, mine.reveal())
        asking = asyncio.create_task(d.ask(request))
        await settle()
        if refusal == "withdrawn":
            d.hub.add("org/private", token())
        else:
            d.hub.down = True
        thinks.set()
        with pytest.raises(ModelNotFound if refusal == "withdrawn" else HubUnavailable):
            await asking
        assert len(d.upstream.sent) == 1


@pytest.mark.parametrize("leaves", [False, True], ids=["it fails", "its caller leaves"])
async def test_a_start_that_serves_nobody_counts_as_loading(leaves: bool) -> None:
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with serving_fakes(progress_every=0.001) as d:
        d.launcher.instant = False
        request = chat()
        asking = asyncio.create_task(d.ask(request, told.put_nowait))
        while (await told.get()).stage != "starting":
            pass
        d.clock.advance(30.0)
        if leaves:
            asking.cancel()
        else:
            d.launcher.fail("model", unsupported=True)
        with pytest.raises(asyncio.CancelledError if leaves else UnsupportedModel):
            await asking
        record = request.record
        assert (record.queue, record.load, record.temperature) == (0.0, 30.0, "")


async def test_the_operators_models_go_on_waiting_while_the_hub_is_silent() -> None:
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with serving_fakes(progress_every=0.001, MODEL_NAME="org/model") as d:
        d.launcher.instant = False
        asking = asyncio.create_task(d.ask(chat(None), told.put_nowait))
        await told.get()
        d.hub.down = True
        d.launcher.ready("model")
        assert (await asking).status == 200


async def test_a_callers_own_salt_divides_its_part_of_the_prefix_cache() -> None:
    async with serving_fakes() as d:
        for caller, salt in (("one", "a"), ("one", "b"), ("one", "b"), ("two", "a"), ("", "a")):
            await d.ask(Request(CHAT, chat(cache_salt=salt).body, None, caller))
        salts = [d.sent(number)["cache_salt"] for number in range(5)]
    assert salts[1] == salts[2]
    assert len(set(salts)) == 4
    assert not {"a", "b"} & set(salts)


async def test_each_prompt_of_a_batch_may_have_a_salt() -> None:
    async with serving_fakes() as d:
        body = chat(cache_salt=["a", "b", "a"]).body
        await d.ask(Request("/v1/completions", body))
        salts = d.sent()["cache_salt"]
    assert isinstance(salts, list)
    assert salts[0] == salts[2] != salts[1]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((None, "key"), (None, "key"), True),
        ((None, "key"), (None, "other key"), False),
        (("mine", "key"), ("other", "key"), True),  # the API key identifies the caller
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
    async with serving_fakes(limits={"max_starts_per_caller": 1}) as d:
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
    async with serving_fakes(MODEL_NAME="org/model") as d:
        (model,) = catalog(Settings.from_environ({"MODEL_NAME": "org/model"})).models
        await d.service.preload(model)
        assert [spec.model.repo_id for spec in d.pool.view.loaded()] == ["org/model"]
