"""Answers above RunPod's limits: the job still ends, and its error names both sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.caller import DONE, chat
from tests.e2e_runpod.harness import Endpoint, QueueHarness, answer, events, refusal, said
from tests.loopback_platform import Job, Outcome

LIMIT = 10_000_000  # bytes of a job's result, posted as JSON
SYNCHRONOUS_LIMIT = 20_000_000


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint(MAX_LOADED_MODELS="16") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def embedder(harness: QueueHarness) -> str:
    return harness.model("acme/embedder", further=("modules.json",), dimensions=1024)


@pytest.fixture(scope="module")
def writer(harness: QueueHarness) -> str:
    """A model that writes 110 events of 100 kB."""
    return harness.model("acme/writer", answer="x" * 100_000, tokens=110)


def told(outcome: Outcome) -> str:
    assert refusal(outcome) == "answer_too_large"
    message: str = json.loads(outcome.error)["error"]["message"]
    return message


def posted_once(job: Job) -> bool:
    return (job.chunks, job.refused, len(job.finals)) == ([], [], 1)


def test_too_many_embeddings_fail_the_job_with_both_sizes_and_a_hint(
    endpoint: Endpoint, embedder: str
) -> None:
    job = endpoint.submit(model=embedder, input=["a"] * 2000)
    message = told(job.wait())
    assert f"{LIMIT:,}" in message
    assert "25,709,014" in message
    assert "Send fewer inputs" in message
    assert "base64" in message
    assert posted_once(job)


def test_embeddings_that_fit_are_posted_once(endpoint: Endpoint, embedder: str) -> None:
    job = endpoint.submit(model=embedder, input=["a"] * 500)
    assert len(answer(job.wait())["data"]) == 500
    assert posted_once(job)


def test_the_result_of_a_synchronous_job_may_be_twice_as_large(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    model = harness.model("acme/long", answer="x" * 12_000_000)
    too_long = harness.model("acme/longer", answer="x" * 21_000_000)
    message = told(endpoint.chat(model).wait())
    assert f"{LIMIT:,}" in message
    assert "stream" in message
    job = endpoint.submit_synchronous(**chat(model))
    assert len(said(job.wait())) == 12_000_000
    assert posted_once(job)
    message = told(endpoint.submit_synchronous(**chat(too_long)).wait())
    assert f"{SYNCHRONOUS_LIMIT:,}" in message


@pytest.mark.parametrize("letter", ["你", '"'])
def test_an_answer_is_measured_as_it_is_posted(
    harness: QueueHarness, endpoint: Endpoint, letter: str
) -> None:
    count = LIMIT // len(json.dumps(letter, ensure_ascii=False).encode()[1:-1])
    fits = harness.model(f"acme/fits-{ord(letter)}", answer=letter * (count - 500))
    job = endpoint.chat(fits)
    assert len(said(job.wait())) == count - 500
    assert posted_once(job)
    larger = harness.model(f"acme/larger-{ord(letter)}", answer=letter * count)
    job = endpoint.chat(larger)
    assert f"{LIMIT:,}" in told(job.wait())
    assert posted_once(job)


def test_a_long_stream_is_streamed_to_its_end_and_only_its_result_fails(
    endpoint: Endpoint, writer: str
) -> None:
    job = endpoint.stream(writer)
    assert "Read it as a stream" in told(job.wait())
    *chunks, done = events(job)
    assert done == DONE
    parts = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(parts).replace(" ", "") == "x" * 100_000 * 110
    assert job.refused == []


def test_a_stream_that_fits_a_synchronous_job_is_its_result(
    endpoint: Endpoint, writer: str
) -> None:
    job = endpoint.submit_synchronous(**chat(writer, stream=True))
    outcome = job.wait()
    assert (outcome.status, outcome.output) == ("COMPLETED", job.outputs)
    assert job.refused == []


def test_a_list_of_models_is_posted_once(endpoint: Endpoint) -> None:
    job = endpoint.submit(openai_route="/v1/models")
    assert answer(job.wait())["object"] == "list"
    assert posted_once(job)
