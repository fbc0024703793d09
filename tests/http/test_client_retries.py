"""The retries of public clients with their default settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anthropic
import httpx
import httpx2
import openai
import pytest

from tests.doubles import Answer
from tests.http.test_clients import HELLO, MODEL, listening
from tests.requests.harness import serving_fakes

CHAT = (
    b'{"id": "c", "object": "chat.completion", "created": 0, "model": "x", "choices": [{"index"'
    b': 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}'
)
MESSAGE = (
    b'{"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": null'
    b', "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 1, '
    b'"output_tokens": 1}}'
)
Ask = Callable[[], Awaitable[str]]
Heard = Callable[[int], None]  # gets the status of an answer as it arrives
Client = Callable[[str, Heard], AbstractAsyncContextManager[Ask]]


@asynccontextmanager
async def openai_says_hi(url: str, heard: Heard) -> AsyncIterator[Ask]:
    async def listen(response: httpx2.Response) -> None:
        heard(response.status_code)

    web = openai.DefaultAsyncHttpxClient(event_hooks={"response": [listen]})
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", http_client=web
    ) as client:

        async def ask() -> str:
            answer = await client.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
            return answer.choices[0].message.content or ""

        yield ask


@asynccontextmanager
async def anthropic_says_hi(url: str, heard: Heard) -> AsyncIterator[Ask]:
    async def listen(response: httpx.Response) -> None:
        heard(response.status_code)

    web = anthropic.DefaultAsyncHttpxClient(event_hooks={"response": [listen]})
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="none", http_client=web
    ) as client:

        async def ask() -> str:
            answer = await client.messages.create(model=MODEL, max_tokens=9, messages=HELLO)  # type: ignore[arg-type]
            return answer.to_dict()["content"][0]["text"]  # type: ignore[index,no-any-return]

        yield ask


each = pytest.mark.parametrize(
    ("client", "body", "error"),
    [
        (openai_says_hi, CHAT, openai.InternalServerError),
        (anthropic_says_hi, MESSAGE, anthropic.InternalServerError),
    ],
)


@each
async def test_a_worker_that_says_when_is_asked_again_then(
    client: Client, body: bytes, error: type[Exception]
) -> None:
    full, asleep = (
        Answer(status=status, headers={"retry-after": "1"}) for status in (429, 503)
    )
    heard: list[int] = []
    async with (
        serving_fakes(full, asleep, Answer((body,))) as d,
        listening(d) as url,
        client(url, heard.append) as ask,
    ):
        assert await ask() == "hi"
    assert heard == [429, 503, 200]


@each
async def test_a_request_that_kills_its_engine_is_not_repeated(
    client: Client, body: bytes, error: type[Exception]
) -> None:
    dies = Answer((b"",), lost_after=0)
    heard: list[int] = []
    async with (
        serving_fakes(dies) as d,
        listening(d) as url,
        client(url, heard.append) as ask,
    ):
        with pytest.raises(error):
            await ask()
        assert heard == [502]
        assert len(d.upstream.sent) == 2  # only the router retried
