"""More about how OpenAI's Python client handles answers and errors."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.clients.harness import MODEL, PRIVATE, Served
from tests.e2e.harness import ENDLESS
from tests.eventually import eventually

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
        yield client


def test_a_raw_stream_has_its_lines(client: openai.OpenAI) -> None:
    create = client.chat.completions.with_streaming_response.create
    with create(model=MODEL, messages=HELLO, stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_a_raw_response_has_the_id_of_the_request(client: openai.OpenAI) -> None:
    create = client.chat.completions.with_raw_response.create
    response = create(model=MODEL, messages=HELLO, extra_headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.parse()._request_id == "mine-1"


async def test_leaving_a_stream_stops_the_generation(served: Served) -> None:
    model, journal = served.harness.model("acme/talks", **ENDLESS), served.harness.journal
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
        events = client.chat.completions.stream(model=model, messages=HELLO)
        async with events as stream:
            async for event in stream:
                if event.type == "content.delta":
                    break
        await eventually(lambda: bool(journal.events("cancelled", model)))


def test_models_are_listed_and_found_by_their_names(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")


@pytest.fixture(scope="module")
def bad_models(served: Served) -> None:
    served.harness.model("acme/gated", gated=True)
    served.harness.model("acme/scribe", architecture="WhisperForConditionalGeneration")
    served.harness.model("acme/stillborn", die_at_start=3)


@pytest.mark.usefixtures("bad_models")
@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (MODEL, {"max_tokens": "many"}, (openai.BadRequestError, "invalid_request")),
        ("no name", {}, (openai.BadRequestError, "invalid_model_id")),
        (PRIVATE, {"hf_token": "hf_x"}, (openai.AuthenticationError, "invalid_hf_token")),
        ("acme/gated", {}, (openai.PermissionDeniedError, "model_gated")),
        (PRIVATE, {}, (openai.NotFoundError, "model_not_found")),
        ("acme/scribe", {}, (openai.UnprocessableEntityError, "unsupported_model")),
        ("acme/stillborn", {}, (openai.InternalServerError, "engine_failed")),
    ],
)
def test_an_error_has_the_class_of_its_kind(
    client: openai.OpenAI,
    model: str,
    fields: dict[str, object],
    expected: tuple[type[openai.APIStatusError], str],
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, extra_body=fields)
    assert (type(caught.value), caught.value.code) == expected
    assert caught.value.request_id


def test_a_wrong_key_is_told(served: Served) -> None:
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="another") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"
