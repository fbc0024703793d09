"""The errors that users of public clients see, with the real service on scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anthropic
import openai
import orjson
import pytest

from router.access.keyring import Keyring
from router.http.server import HttpServer
from tests.doubles import Answer
from tests.loop_clock import LoopClock
from tests.requests.harness import SSE, ServiceHarness, serving_fakes

MODEL = "org/model"
LONGEST = 30.0  # seconds of a request
HELLO = [{"role": "user", "content": "hi"}]
CHUNK = b'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
STARTED = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "type": '
    b'"message", "role": "assistant", "content": [], "model": "x", "stop_reason": null, '
    b'"stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 0}}}\n\n'
)
CREATED = (
    b'event: response.created\ndata: {"type": "response.created", "sequence_number": 0, '
    b'"response": {"id": "r", "object": "response", "error": null}}\n\n'
)

# Ways to fail: before the stream begins, and after.
DIES_MIDWAY = "dies in the middle of an event"
FAILS_TO_START = "fails to start after a comment"
OUT_OF_TIME = "takes too long"
REFUSES_LATE = "refuses after a comment"
WAYS = (DIES_MIDWAY, FAILS_TO_START, OUT_OF_TIME, REFUSES_LATE)


@asynccontextmanager
async def failing(way: str, first: bytes) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A worker whose engine fails in that way, after the event `first`.

    Yields its URL, and a function that triggers the failure: call it when the head is there.
    """
    thinks = asyncio.Event()
    answer, silence = Answer((first,), headers=SSE), 10.0
    if way == DIES_MIDWAY:
        answer = Answer((first + first[:20],), headers=SSE, lost_after=1)
    elif way == OUT_OF_TIME:
        answer = Answer((first,), headers=SSE, hangs=True)
    elif way == REFUSES_LATE:
        body = orjson.dumps({"message": "no such file: /srv/models/x"})
        answer, silence = Answer((body,), status=400, thinks=thinks), 0.01
    else:
        silence = 0.01
    clock = LoopClock()
    async with serving_fakes(answer, silence=silence, REQUEST_TIMEOUT=str(LONGEST)) as d:
        d.launcher.instant = way != FAILS_TO_START

        def fail() -> None:
            thinks.set()
            if way == OUT_OF_TIME:
                clock.advance(LONGEST)
            if way == FAILS_TO_START:
                d.launcher.fail("model")

        async with listening(d) as url:
            yield url, fail


@asynccontextmanager
async def listening(d: ServiceHarness, **options: object) -> AsyncIterator[str]:
    server = HttpServer(d.service, **options)  # type: ignore[arg-type]
    port = await server.start("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0.0)


EXPECTED: dict[str, tuple[str, str]] = {  # by way: a code, and words from the message
    DIES_MIDWAY: ("engine_failed", "stopped in the middle"),
    FAILS_TO_START: ("engine_failed", "did not start"),
    OUT_OF_TIME: ("deadline_exceeded", "REQUEST_TIMEOUT"),
    REFUSES_LATE: ("400", "no such file: <path>"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_openais_client_learns_of_a_chat_that_failed(way: str) -> None:
    async with (
        failing(way, CHUNK) as (url, fail),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model=MODEL, messages=[], stream=True)
        fail()
        with pytest.raises(openai.APIError, match=EXPECTED[way][1]) as caught:
            [chunk async for chunk in stream]
        assert caught.value.code == (None if way == REFUSES_LATE else EXPECTED[way][0])


@pytest.mark.parametrize("way", WAYS)
async def test_openais_client_learns_of_a_response_that_failed(way: str) -> None:
    async with (
        failing(way, CREATED) as (url, fail),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = await client.responses.create(model=MODEL, input="hi", stream=True)
        fail()
        with pytest.raises(openai.APIError, match=EXPECTED[way][1]) as caught:
            [event async for event in stream]
        assert caught.value.code == EXPECTED[way][0]


@pytest.mark.parametrize("way", WAYS)
async def test_anthropics_client_learns_of_a_message_that_failed(way: str) -> None:
    async with (
        failing(way, STARTED) as (url, fail),
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client,
    ):
        stream = await client.messages.create(
            model=MODEL, max_tokens=9, messages=[], stream=True
        )
        fail()
        with pytest.raises(anthropic.APIStatusError, match=EXPECTED[way][1]) as caught:
            [event async for event in stream]
        assert caught.value.body.keys() == {"type", "error"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [True, False])
async def test_anthropics_client_reads_errors_in_its_own_form(stream: bool) -> None:
    refusal = Answer(
        (b'{"object": "error", "message": "max_tokens is too large"}',), status=400
    )
    async with (
        serving_fakes(refusal) as d,
        listening(d) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client,
    ):

        async def ask(model: str) -> None:
            await client.messages.create(model=model, max_tokens=9, messages=[], stream=stream)

        with pytest.raises(anthropic.NotFoundError) as missing:
            await ask("org/missing")
        with pytest.raises(anthropic.BadRequestError, match="too large") as bad:
            await ask(MODEL)
    for caught, kind in ((missing, "not_found_error"), (bad, "invalid_request_error")):
        body = orjson.loads(caught.value.response.content)
        assert body.keys() == {"type", "error"}
        assert body["error"]["type"] == kind


async def test_anthropics_client_lists_the_models_with_its_own_header() -> None:
    async with (
        serving_fakes(MODEL_NAME=MODEL) as d,
        listening(d, keys=Keyring(["the-right-key"])) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="the-right-key") as client,
    ):
        assert [model.id async for model in client.models.list()] == [MODEL]


async def test_a_stream_passes_comments_that_clients_do_not_see() -> None:
    thinks = asyncio.Event()
    answer = Answer((CHUNK, b"data: [DONE]\n\n"), headers=SSE, thinks=thinks)
    async with (
        serving_fakes(answer, silence=0.01) as d,
        listening(d) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        # The head comes with the first comment, before the engine has answered.
        stream = await client.chat.completions.create(model=MODEL, messages=[], stream=True)
        thinks.set()
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["hi"]
