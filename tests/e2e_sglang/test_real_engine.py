"""The worker with the real SGLang behind it, as callers see both."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aiohttp
import openai
import pytest

from router.requests.routes import ROUTES
from tests.e2e_sglang.harness import APPLE, PEAR, Harness, Json
from tests.e2e_sglang.watching import ENDLESS, cached_tokens, engine_runs, streaming

pytestmark = pytest.mark.sglang

QUESTION = "Who are you?"
TOO_LONG = "x" * 6000  # tokens; a generating model takes 4096, an embedder one less


async def test_it_chats(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=APPLE, messages=[{"role": "user", "content": QUESTION}]
    )
    assert answer.choices[0].message.content == "I am apple."
    assert answer.model == APPLE


async def test_it_streams_a_chat_and_its_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=APPLE,
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == "I am apple."
    assert last.usage is not None
    assert last.usage.completion_tokens == 4


async def test_it_completes(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model=APPLE, prompt=QUESTION)
    assert answer.choices[0].text == "I am apple."


async def test_it_responds(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model=APPLE, input=QUESTION)
    assert answer.output_text == "I am apple."


async def test_it_streams_sglangs_own_generate(http: aiohttp.ClientSession) -> None:
    async with streaming(http, "/generate", {"text": QUESTION}) as events:
        *told, done = [event async for event in events]
    assert done == "[DONE]"
    texts = [json.loads(event)["text"] for event in told]
    assert texts == sorted(texts)  # each is the whole text so far
    assert texts[-1] == "I am apple."


async def test_it_takes_anthropics_messages(http: aiohttp.ClientSession) -> None:
    content = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 16}
    answer = await post(http, "/v1/messages", content)
    assert answer["content"] == [{"type": "text", "text": "I am apple."}]
    counted = await post(http, "/v1/messages/count_tokens", content)
    assert counted["input_tokens"] > len(QUESTION)


async def test_it_tokenizes_and_back(http: aiohttp.ClientSession) -> None:
    tokens = (await post(http, "/v1/tokenize", {"prompt": "Grüße"}))["tokens"]
    assert len(tokens) == len("Grüße".encode())
    assert (await post(http, "/v1/detokenize", {"tokens": tokens}))["text"] == "Grüße"


async def test_it_embeds(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model=PEAR, input=["one", "another"])
    one, another = (item.embedding for item in answer.data)
    assert len(one) == len(another) == 64
    assert one != another


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}),
        ("/v1/completions", {"prompt": QUESTION}),
        ("/v1/responses", {"input": QUESTION}),
        ("/generate", {"text": QUESTION}),
    ],
)
async def test_a_generation_request_does_not_reach_the_embedder_that_it_would_kill(
    path: str, content: Json, http: aiohttp.ClientSession, harness: Harness
) -> None:
    before = harness.engine(PEAR)
    error = await refusal(http, path, content | {"model": PEAR})
    assert error["code"] == "wrong_endpoint"
    await post(http, "/v1/embeddings", {"model": PEAR, "input": QUESTION})
    assert harness.engine(PEAR) == before


async def test_an_embedding_is_not_asked_of_a_model_that_generates(
    http: aiohttp.ClientSession,
) -> None:
    error = await refusal(http, "/v1/embeddings", {"input": QUESTION})
    assert error["code"] == "wrong_endpoint"


@pytest.mark.parametrize(
    ("path", "content", "takes"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": TOO_LONG}]}, 4096),
        ("/v1/completions", {"prompt": TOO_LONG}, 4096),
        ("/generate", {"text": TOO_LONG}, 4096),
        ("/v1/embeddings", {"model": PEAR, "input": TOO_LONG}, 4095),
    ],
)
async def test_a_prompt_that_is_too_long_is_refused_in_the_engines_words(
    path: str, content: Json, takes: int, http: aiohttp.ClientSession
) -> None:
    error = await refusal(http, path, content)
    assert f"longer than the model's context length ({takes} tokens)" in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_an_engines_error_shows_nothing_of_this_machine(
    http: aiohttp.ClientSession,
) -> None:
    wrong = {"prompt": QUESTION, "temperature": "hot"}
    error = await refusal(http, "/v1/completions", wrong)
    assert "temperature" in error["message"]
    assert "site-packages" not in error["message"]


SALTED: Mapping[str, Json] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "A secret" * 8}]},
    "/v1/completions": {"prompt": "Another secret" * 8},
    "/v1/responses": {"input": "A third one" * 8},
    "/generate": {"text": "And the last secret" * 8},
}


def test_all_salted_routes_are_tried() -> None:
    assert SALTED.keys() == {route.path for route in ROUTES.values() if route.salted}


@pytest.mark.parametrize("path", SALTED)
async def test_a_prompt_is_in_the_prefix_cache_for_its_own_caller_only(
    path: str, http: aiohttp.ClientSession, harness: Harness
) -> None:
    async def cached(token: str) -> int:
        return cached_tokens(await post(http, path, SALTED[path], token))

    first, again = await cached(harness.ann), await cached(harness.ann)
    other = await cached(harness.ben)
    assert again > 50
    assert first == other < 10  # perhaps the chat template's first tokens


async def test_two_requests_are_answered_side_by_side(http: aiohttp.ClientSession) -> None:
    async with streaming(http, "/v1/completions", ENDLESS) as events:
        await anext(events)
        answer = await post(http, "/v1/completions", {"prompt": QUESTION})
        assert answer["choices"][0]["text"] == "I am apple."
        assert json.loads(await anext(events))["choices"][0]["finish_reason"] is None


async def test_a_caller_who_leaves_ends_the_generation(
    http: aiohttp.ClientSession, harness: Harness
) -> None:
    engine = harness.engine(APPLE)
    await engine_runs(engine, 0)
    before = await engine.steps()
    async with streaming(http, "/v1/completions", ENDLESS) as events:
        await anext(events)
        await engine_runs(engine, 1)
    await engine_runs(engine, 0)
    assert await engine.steps() - before < 0.9 * ENDLESS["max_tokens"]


async def post(
    http: aiohttp.ClientSession, path: str, content: Json, token: str | None = None
) -> Json:
    headers = {} if token is None else {"X-HF-Token": token}
    async with http.post(path, json={"model": APPLE, **content}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        found: Json = await answer.json()
    return found


async def refusal(http: aiohttp.ClientSession, path: str, content: Json) -> Json:
    async with http.post(path, json={"model": APPLE, **content}) as answer:
        assert answer.status == 400, await answer.text()
        error: Json = (await answer.json())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


async def test_it_tells_what_parts_of_its_start_took(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/tokenize", json={"model": APPLE, "prompt": "Hi."}) as answer:
        assert answer.status == 200
    async with http.get("/admin/state") as answer:
        engines = (await answer.json())["engines"]
    (engine,) = (one for one in engines if one["model"] == APPLE)
    phases = engine["start_phases"]
    assert phases.keys() == {"load_weight", "kv_cache_allocation"}  # a CPU captures no graphs
    assert 0 < sum(phases.values()) < 60


async def test_the_tokens_of_a_batch_are_recorded_together(http: aiohttp.ClientSession) -> None:
    body = {"model": APPLE, "text": [QUESTION, "Hi.", QUESTION], "sampling_params": {}}
    request_id = "a-batch-of-three"
    async with http.post(
        "/generate", json=body, headers={"X-Request-Id": request_id}
    ) as answer:
        told = [result["meta_info"] for result in await answer.json()]
    assert len(told) == 3
    records = list[Json]()
    while not records:  # the worker records an answer a moment after its last byte
        async with http.get("/admin/activity") as answer:
            ended = (await answer.json())["ended"]
        records = [one for one in ended if one["id"] == request_id]
    (record,) = records
    assert record["prompt_tokens"] == sum(one["prompt_tokens"] for one in told)
    assert record["completion_tokens"] == sum(one["completion_tokens"] for one in told)
