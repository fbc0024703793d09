"""One worker, many models: the named model answers each request."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from tests.e2e.caller import CHAT, Caller, chat
from tests.e2e.harness import ENDLESS, VOCABULARY, Event, Harness
from tests.eventually import eventually
from tests.worker import Worker

MODELS_CONFIG = """
- model: acme/poet
  aliases: [rhymer, gpt-4o-mini]
- model: acme/judge
"""


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model("acme/default")
    harness.model("acme/poet")
    harness.model("acme/clerk")
    harness.model("acme/embedder", further=("modules.json",))
    harness.model("acme/judge", architecture="LlamaForSequenceClassification")
    harness.model("acme/scribe", architecture="WhisperForConditionalGeneration")
    harness.model("acme/endless", **ENDLESS)
    harness.model("acme/broken", error=500)
    harness.model("acme/secret", private=True)
    with harness.worker(
        MODEL_NAME="acme/default",
        SERVED_MODEL_NAME="house,brand",
        MODELS_CONFIG=MODELS_CONFIG,
        MAX_LOADED_MODELS="8",
    ) as worker:
        yield worker


@pytest.fixture
async def openai(worker: Worker) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{worker.url}/v1", api_key="unused", max_retries=0
    ) as client:
        yield client


def last_request(harness: Harness, model: str) -> Event:
    return harness.journal.events("request", model)[-1]


@pytest.mark.parametrize("model", ["acme/poet", "acme/clerk"])
@pytest.mark.parametrize(
    ("route", "content"),
    [
        (CHAT, chat(None)),
        ("/v1/completions", {"prompt": "Who are you?"}),
        ("/v1/responses", {"input": "Who are you?"}),
        ("/v1/messages", {**chat(None), "max_tokens": 9}),
        ("/generate", {"text": "Who are you?"}),
    ],
)
async def test_each_generating_route_answers_with_its_own_models_words(
    harness: Harness, caller: Caller, model: str, route: str, content: dict[str, object]
) -> None:
    answer = await caller.post(route, {**content, "model": model})
    assert answer.status == 200
    assert f"I am {model}".encode() in answer.body
    assert last_request(harness, model)["path"] == route


@pytest.mark.parametrize(
    ("model", "route", "content"),
    [
        ("acme/embedder", "/v1/embeddings", {"input": "a"}),
        ("acme/judge", "/v1/classify", {"input": "a"}),
        ("acme/judge", "/v1/rerank", {"query": "a", "documents": ["b", "c"]}),
        (
            "acme/judge",
            "/v1/score",
            {"query": "a", "items": ["b"], "label_token_ids": [1, 2]},
        ),
        ("acme/embedder", "/v1/tokenize", {"prompt": "a"}),
        ("acme/poet", "/v1/detokenize", {"tokens": [97]}),
    ],
)
async def test_each_other_route_is_answered_by_the_engine_of_its_model(
    harness: Harness, caller: Caller, model: str, route: str, content: dict[str, object]
) -> None:
    answer = await caller.post(route, {**content, "model": model})
    assert answer.status == 200
    assert last_request(harness, model)["path"] == route


async def test_a_speech_model_is_refused_before_any_download(
    harness: Harness, caller: Caller
) -> None:
    before = len(harness.hub.requests)
    answer = await caller.chat("acme/scribe")
    assert answer.refusal == (422, "unsupported_model")
    assert b"/v1/audio/transcriptions" in answer.body
    assert not [one for one in harness.hub.requests[before:] if "/tree/" in one.path]


async def test_an_adapter_is_refused_with_the_model_that_it_changes(
    harness: Harness, caller: Caller
) -> None:
    config = b'{"base_model_name_or_path": "acme/poet", "peft_type": "LORA"}'
    files = {"adapter_config.json": config, "adapter_model.safetensors": b"x" * 100}
    harness.hub.add_repo("acme/adapter", files)
    answer = await caller.chat("acme/adapter")
    assert answer.refusal == (422, "unsupported_model")
    assert b"base model, acme/poet" in answer.body


@pytest.mark.parametrize(
    ("route", "field", "content"),
    [
        ("/v1/completions", "prompt", {"prompt": [5, VOCABULARY]}),
        ("/v1/completions", "top_k", {"prompt": "a", "top_k": 2**62}),
        (CHAT, "logit_bias", {**chat(None), "logit_bias": {str(VOCABULARY): 1}}),
        ("/generate", "sampling_params.n", {"text": "a", "sampling_params": {"n": -1}}),
        ("/v1/messages", "top_k", {**chat(None), "max_tokens": 9, "top_k": 2**31}),
        ("/v1/responses", "stop_regex", {"input": "a", "stop_regex": "a"}),
    ],
)
async def test_what_would_kill_an_engine_is_refused_by_its_name(
    harness: Harness,
    caller: Caller,
    route: str,
    field: str,
    content: dict[str, object],
) -> None:
    await caller.post("/v1/completions", {"prompt": "a", "model": "acme/poet"})
    before = harness.journal.events("request", "acme/poet")
    for stream in (False, True):
        answer = await caller.post(route, {**content, "model": "acme/poet", "stream": stream})
        assert f"`{field}`" in answer.body.decode()
        assert answer.status == 400
    assert harness.journal.events("request", "acme/poet") == before


async def test_a_stream_arrives_while_it_is_generated(harness: Harness, caller: Caller) -> None:
    async with caller.stream("acme/endless") as stream:
        assert stream.status == 200
        for _ in range(3):  # each generation would take a quarter of an hour
            assert json.loads(await stream.event())["object"] == "chat.completion.chunk"
    await eventually(lambda: harness.journal.events("cancelled", "acme/endless"))


async def test_the_openai_client_talks_to_several_models_at_once(openai: AsyncOpenAI) -> None:
    async def whole(model: str) -> str | None:
        answer = await openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Who are you?"}]
        )
        return answer.choices[0].message.content

    async def streamed(model: str) -> str:
        stream = await openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Who are you?"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    models = ["acme/poet", "acme/clerk", "acme/default"]
    answers = await asyncio.gather(*map(whole, models), *map(streamed, models))
    assert answers == [f"I am {model}" for model in models] * 2
    embedded = await openai.embeddings.create(
        model="acme/embedder", input="a", encoding_format="float"
    )
    assert embedded.data[0].embedding == [0.6, 0.8]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (None, "acme/default"),
        ("house", "acme/default"),
        ("brand", "acme/default"),
        ("rhymer", "acme/poet"),
        ("gpt-4o-mini", "acme/poet"),
        ("ACME/Poet", "acme/poet"),
        ("acme/clerk@main", "acme/clerk"),
    ],
)
async def test_a_model_answers_to_its_other_names(
    caller: Caller, name: str | None, model: str
) -> None:
    assert (await caller.chat(name)).text == f"I am {model}"


async def test_models_lists_what_the_caller_may_use(harness: Harness, caller: Caller) -> None:
    """List after each use, because this machine's memory decides how many models stay
    loaded."""
    owner, stranger = harness.hub.add_account("acme"), harness.hub.add_account("stranger")

    async def listed(**headers: str) -> set[str]:
        answer = await caller.get("/v1/models", **headers)
        return {card["id"] for card in answer.json["data"] if card["loaded"]}

    for name in ("acme/clerk", "house", "rhymer"):
        assert (await caller.chat(name)).status == 200
        assert name in await listed()
    assert (await caller.chat("acme/secret", token=owner)).text == "I am acme/secret"
    anonymous = await listed()
    assert "acme/secret" not in anonymous
    assert "acme/secret" not in await listed(**{"X-HF-Token": stranger})
    assert await listed(**{"X-HF-Token": owner}) == anonymous | {"acme/secret"}
    one = await caller.get("/v1/models/acme/secret")
    assert one.refusal == (404, "model_not_found")


async def test_a_route_that_is_not_for_this_model_starts_nothing(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/second-embedder", further=("modules.json",))
    answer = await caller.chat(model)
    assert answer.refusal == (400, "wrong_endpoint")
    assert "/v1/embeddings" in answer.json["error"]["message"]
    assert not harness.journal.events("start", model)


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("POST", CHAT, b"{", (400, "invalid_request")),
        ("POST", CHAT, b"[]", (400, "invalid_request")),
        ("POST", CHAT, b'{"model": 7}', (400, "invalid_request")),
        ("POST", CHAT, b'{"model": "poet"}', (400, "invalid_model_id")),
        ("POST", CHAT, b'{"model": "acme/../etc"}', (400, "invalid_model_id")),
        ("POST", CHAT, b'{"model": "acme/nobody"}', (404, "model_not_found")),
        ("POST", CHAT, b'{"model": "acme/clerk@v9"}', (404, "revision_not_found")),
        ("POST", "/v1/audio/speech", b"{}", (404, "route_not_found")),
        ("POST", "/flush_cache", b"{}", (404, "route_not_found")),
        ("GET", CHAT, None, (405, "method_not_allowed")),
    ],
)
async def test_wrong_input_is_told_in_the_envelope(
    caller: Caller, method: str, path: str, body: bytes | None, refusal: tuple[int, str]
) -> None:
    answer = await caller.send(method, path, body, {"Content-Type": "application/json"})
    assert answer.refusal == refusal
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}


async def test_a_body_that_is_not_said_to_be_json_is_refused(caller: Caller) -> None:
    body = json.dumps(chat("acme/clerk")).encode()
    answer = await caller.send("POST", CHAT, body, {"Content-Type": "text/plain"})
    assert answer.refusal == (400, "invalid_request")


async def test_an_engines_error_comes_in_the_envelope_without_local_paths(
    worker: Worker, caller: Caller
) -> None:
    answer = await caller.chat("acme/broken")
    error = answer.json["error"]
    assert answer.status == 500
    assert error["message"].startswith("[Errno 2] No such file or directory: '<path>")
    assert error["type"] == "server_error"
    assert str(worker.directory) not in answer.body.decode()


async def test_an_engine_learns_neither_token_nor_key_nor_header(
    harness: Harness, caller: Caller
) -> None:
    token = harness.hub.add_account("reader")
    key = secrets.token_hex(16)
    headers = {"X-HF-Token": token, "Authorization": f"Bearer {key}", "Cookie": "a=b"}
    body = chat("ACME/clerk", hf_token=token, priority=9, rid="mine", user="somebody")
    assert (await caller.post(f"{CHAT}?token={token}", body, headers)).status == 200

    sent = last_request(harness, "acme/clerk")
    assert set(sent["headers"]) <= {"host", "accept", "content-type", "content-length"}
    assert sent["body"] == {
        **chat("acme/clerk", user="somebody"),
        "cache_salt": sent["body"]["cache_salt"],
    }
    assert sent["path"] == CHAT
    assert token not in json.dumps(sent)
    assert key not in json.dumps(sent)


async def test_each_caller_has_a_prefix_cache_of_its_own(
    harness: Harness, caller: Caller
) -> None:
    async def salt(token: str | None) -> str | None:
        assert (await caller.chat("acme/clerk", token=token, cache_salt="theirs")).status == 200
        found: str | None = last_request(harness, "acme/clerk")["body"].get("cache_salt")
        return found

    one, other = harness.hub.add_account("one"), harness.hub.add_account("other")
    salts = [await salt(token) for token in (one, other, one, None)]
    assert salts[0] == salts[2]
    assert len(set(salts)) == 3
    assert "theirs" not in salts
