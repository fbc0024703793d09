"""Every form of a job, answered by the model that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.caller import CHAT, DONE, chat
from tests.e2e.harness import VOCABULARY
from tests.e2e_runpod.harness import Endpoint, QueueHarness, answer, events, refusal, said
from tests.loopback_platform import Job

DEFAULT, OTHER = "acme/default", "acme/other"
EMBEDDER, HIDDEN = "acme/embedder", "acme/hidden"

CHAT_BODY = chat(None)
PROMPT: dict[str, Any] = {"prompt": "Who are you?"}
TEXT: dict[str, Any] = {"text": "Who are you?", "sampling_params": {"max_new_tokens": 9}}
IDS: dict[str, Any] = {"input_ids": [1, 2, 3]}


def by_route(route: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"openai_route": route, "openai_input": body}


def as_vllm(route: str, body: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"route": route, "body": body, **more}


FORMS = [
    (by_route("/v1/chat/completions", CHAT_BODY), CHAT),
    (by_route("v1/chat/completions", CHAT_BODY), CHAT),
    (by_route("/v1/completions", PROMPT), "/v1/completions"),
    (by_route("v1/completions", PROMPT), "/v1/completions"),
    (by_route("/v1/responses", {"input": "Who are you?"}), "/v1/responses"),
    (by_route("/v1/messages", {**CHAT_BODY, "max_tokens": 9}), "/v1/messages"),
    (as_vllm("/v1/chat/completions", CHAT_BODY), CHAT),
    (as_vllm("/openai/v1/completions", PROMPT, method="POST"), "/v1/completions"),
    (as_vllm("generate", TEXT), "/generate"),
    (CHAT_BODY, CHAT),
    (PROMPT, "/v1/completions"),
    (TEXT, "/generate"),
    (IDS, "/generate"),
]


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    harness.model(DEFAULT)
    harness.model(OTHER)
    harness.model(EMBEDDER, further=("modules.json",))
    harness.model(HIDDEN, private=True)
    with harness.endpoint(MODEL_NAME=DEFAULT, MAX_LOADED_MODELS="4") as endpoint:
        yield endpoint


def with_fields(job_input: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Put fields into the OpenAI body, if the input has one."""
    for own in ("openai_input", "body"):
        if own in job_input:
            return {**job_input, own: {**job_input[own], **fields}}
    return {**job_input, **fields}


@pytest.mark.parametrize(("job_input", "route"), FORMS)
def test_each_form_reaches_the_route_and_the_model_that_it_means(
    harness: QueueHarness, endpoint: Endpoint, job_input: dict[str, Any], route: str
) -> None:
    named = with_fields(job_input, model=OTHER)
    jobs = [
        (model, endpoint.submit(**given), endpoint.submit(**with_fields(given, stream=True)))
        for model, given in ((DEFAULT, job_input), (OTHER, named))
    ]
    for model, job, stream in jobs:
        assert f"I am {model}" in json.dumps(answer(job.wait()))
        assert_streamed(stream, model, route)
        sent = harness.journal.events("request", model)[-2:]
        assert [request["path"] for request in sent] == [route] * 2


def assert_streamed(job: Job, model: str, route: str) -> None:
    outcome = job.wait()
    assert (outcome.status, outcome.output) == ("COMPLETED", job.outputs)
    assert model in "".join(job.outputs)
    if route not in {"/v1/responses", "/v1/messages"}:  # these routes name their events
        *chunks, done = events(job)
        assert all(json.loads(chunk) for chunk in chunks)
        assert done == DONE


@pytest.mark.parametrize(
    "job_input",
    [
        {"input": "a", "model": EMBEDDER},
        by_route("/v1/embeddings", {"input": "a", "model": EMBEDDER}),
        by_route("v1/embeddings", {"input": ["a"], "model": EMBEDDER}),
    ],
)
def test_embeddings_come_from_a_model_that_embeds(
    endpoint: Endpoint, job_input: dict[str, Any]
) -> None:
    assert answer(endpoint.run(**job_input))["data"][0]["embedding"] == [0.6, 0.8]


def test_a_model_beside_the_openai_input_counts_where_that_has_none(
    endpoint: Endpoint,
) -> None:
    assert said(endpoint.run(model=OTHER, **by_route(CHAT, CHAT_BODY))) == f"I am {OTHER}"
    both = by_route(CHAT, chat(OTHER))
    assert said(endpoint.run(model=EMBEDDER, **both)) == f"I am {OTHER}"


def test_models_are_listed(endpoint: Endpoint) -> None:
    # This machine's memory decides how many models stay loaded: so load it now.
    assert said(endpoint.chat(DEFAULT).wait()) == f"I am {DEFAULT}"
    bodies: list[dict[str, Any]] = [{}, {"openai_input": None}, {"openai_input": {}}]
    jobs = [
        endpoint.submit(openai_route=route, **body)
        for route in ("/v1/models", "v1/models", "/v1/models/")
        for body in bodies
    ]
    for job in jobs:
        listing = answer(job.wait())
        assert listing["object"] == "list"
        assert {"id": DEFAULT, "loaded": True}.items() <= listing["data"][0].items()


def test_a_wrong_method_or_route_is_told_in_the_envelope(endpoint: Endpoint) -> None:
    listing = answer(endpoint.run(route="/v1/models", method="GET"))
    assert listing["object"] == "list"
    wrong = {"route": CHAT, "method": "GET", "body": CHAT_BODY}
    assert refusal(endpoint.run(**wrong)) == "method_not_allowed"
    assert refusal(endpoint.run(route="/health", method="GET")) == "route_not_found"


def test_one_model_is_told_of_by_its_name(endpoint: Endpoint) -> None:
    card = answer(endpoint.run(openai_route=f"/v1/models/{DEFAULT}"))
    assert card["id"] == DEFAULT
    assert refusal(endpoint.run(openai_route="/v1/models/acme/nobody")) == "model_not_found"


def test_a_token_decides_what_is_listed(harness: QueueHarness, endpoint: Endpoint) -> None:
    token = harness.hub.add_account("acme")
    assert said(endpoint.run(**chat(HIDDEN, hf_token=token))) == f"I am {HIDDEN}"

    def listed(**fields: Any) -> list[str]:
        content = answer(endpoint.run(openai_route="/v1/models", **fields))
        return [card["id"] for card in content["data"]]

    assert HIDDEN not in listed()
    assert HIDDEN in listed(hf_token=token)
    assert HIDDEN in listed(openai_input={"hf_token": token})
    one = {"openai_route": f"/v1/models/{HIDDEN}"}
    assert refusal(endpoint.run(**one)) == "model_not_found"
    assert answer(endpoint.run(**one, hf_token=token))["id"] == HIDDEN


@pytest.mark.parametrize("stream", [False, True])
def test_a_token_in_the_openai_input_wins_over_one_beside_it(
    harness: QueueHarness, endpoint: Endpoint, stream: bool
) -> None:
    owner, stranger = harness.hub.add_account("acme"), harness.hub.add_account("stranger")

    def run(inside: str, beside: str) -> str:
        body = chat(HIDDEN, hf_token=inside, stream=stream)
        return endpoint.run(hf_token=beside, **by_route(CHAT, body)).status

    assert run(owner, stranger) == "COMPLETED"
    assert run(stranger, owner) == "FAILED"
    sent = harness.journal.events("request", HIDDEN)[-1]["body"]
    assert "hf_token" not in sent


@pytest.mark.parametrize(
    "job_input",
    [
        {"prompt": [5, VOCABULARY]},
        {"prompt": "a", "top_k": 2**62},
        {"input_ids": [-7]},
        {"text": "a", "sampling_params": {"stop_regex": "(.|.)*#$"}},
        by_route("/v1/chat/completions", {**CHAT_BODY, "top_logprobs": 10**6}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_would_kill_an_engine_is_refused(
    harness: QueueHarness, endpoint: Endpoint, job_input: dict[str, Any], stream: bool
) -> None:
    before = harness.journal.events("request", DEFAULT)
    outcome = endpoint.run(**with_fields(job_input, stream=stream))
    assert refusal(outcome) == "invalid_request"
    assert harness.journal.events("request", DEFAULT) == before
