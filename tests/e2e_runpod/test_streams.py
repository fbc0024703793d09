"""Streams through RunPod: when they are posted, in what pieces, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.caller import DONE
from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import (
    Endpoint,
    QueueHarness,
    answer,
    events,
    refusal,
    said,
    streamed,
)
from tests.eventually import eventually
from tests.loopback_platform import Job

LIMIT = 1_000_000  # bytes of one chunk of a stream
NUMBERS = " ".join(map(str, range(300)))


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint(MAX_LOADED_MODELS="16") as endpoint:
        yield endpoint


async def test_a_stream_is_posted_while_it_is_generated(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    job = endpoint.stream(harness.model("acme/endless", **ENDLESS))
    await eventually(lambda: len(job.chunks) >= 3)  # the stream takes a quarter of an hour
    assert all(json.loads(event)["choices"] for event in events(job))
    endpoint.cancel(job)


def test_what_comes_while_a_post_hangs_is_posted_together_and_in_order(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    model = harness.model("acme/counter", answer=NUMBERS, interval=0.001)
    hold = endpoint.hold()
    held = endpoint.stream(model)
    hold.wait()
    assert streamed(endpoint.stream(model)) == NUMBERS
    hold.release()
    assert streamed(held) == NUMBERS
    assert len(held.chunks) < len(NUMBERS.split()) / 10


@pytest.mark.parametrize("letter", ["€", "😀", '"'])
def test_an_event_that_is_too_large_is_cut_between_characters(
    harness: QueueHarness, endpoint: Endpoint, letter: str
) -> None:
    words = letter * 700_000
    job = endpoint.stream(harness.model(f"acme/large-{ord(letter)}", answer=words))
    outcome = job.wait()
    assert outcome.output == job.outputs
    assert len(job.chunks) > 1
    assert all(len(json.dumps(c, ensure_ascii=False).encode()) < LIMIT for c in job.outputs)
    told = [event.removeprefix("data: ") for event in "".join(job.outputs).split("\n\n")]
    assert json.loads(told[1])["choices"][0]["delta"]["content"] == words
    assert told[-2:] == [DONE, ""]


def test_an_answer_too_large_for_a_chunk_is_still_the_jobs_result(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    words = "€" * 700_000
    assert said(endpoint.chat(harness.model("acme/large", answer=words)).wait()) == words


async def test_an_engine_killed_in_mid_stream_is_told_in_band(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    model = harness.model("acme/killed", **ENDLESS)
    job = endpoint.stream(model)
    await eventually(lambda: job.chunks)
    harness.journal.kill_engine(model)
    assert_broke_off(job)


def test_an_engine_that_dies_within_an_event_leaves_no_half_of_it(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    job = endpoint.stream(
        harness.model("acme/cut", die_after_bytes=2000, interval=0.05, tokens=99)
    )
    job.wait()
    assert_broke_off(job)


def assert_broke_off(job: Job) -> None:
    assert job.wait().status == "COMPLETED"
    *before, error, done = events(job)
    assert before
    assert all(json.loads(event)["choices"] for event in before)
    assert json.loads(error)["error"]["code"] == "engine_failed"
    assert done == DONE
    assert job.wait().output == job.outputs


def test_an_engine_that_dies_under_a_job_fails_it(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    jobs = [
        endpoint.chat(harness.model("acme/dies", die_before_answer=True)),
        endpoint.stream(harness.model("acme/dies-too", die_before_answer=True)),
    ]
    assert [told(job) for job in jobs] == ["engine_failed"] * 2


def told(job: Job) -> str:
    """The error code of a job that fails. In a stream that waits long, comments come first."""
    outcome = job.wait()
    if not job.outputs:
        return refusal(outcome)
    error, done = events(job)
    assert done == DONE
    code: str = json.loads(error)["error"]["code"]
    return code


def test_an_engine_that_died_unheard_is_replaced_unseen(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    job = endpoint.chat(harness.model("acme/once", die_before_answer=True, bad_lives=1))
    stream = endpoint.stream(
        harness.model("acme/once-too", die_before_answer=True, bad_lives=1)
    )
    assert said(job.wait()) == "I am acme/once"
    assert streamed(stream) == "I am acme/once-too"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engines_own_error_fails_the_job_in_the_envelope(
    harness: QueueHarness, endpoint: Endpoint, stream: bool
) -> None:
    job = endpoint.chat(harness.model(f"acme/sick-{stream}".lower(), error=400), stream=stream)
    outcome = job.wait()
    assert outcome.status == "FAILED"
    error = json.loads(outcome.error)["error"]
    assert error["message"].startswith("[Errno 2] No such file or directory: '<path>")
    assert error["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def well(harness: QueueHarness) -> str:
    return harness.model("acme/well")


WRONG: list[tuple[Any, str]] = [
    (None, "invalid_request"),
    ("Who are you?", "invalid_request"),
    ([], "invalid_request"),
    ({}, "invalid_request"),
    ({"prompt": "a"}, "invalid_request"),  # no model and no default
    ({"model": 7, "prompt": "a"}, "invalid_request"),
    ({"model": "poet", "prompt": "a"}, "invalid_model_id"),
    ({"model": "acme/../etc", "prompt": "a"}, "invalid_model_id"),
    ({"model": "acme/nobody", "prompt": "a"}, "model_not_found"),
    ({"model": "acme/well@v9", "prompt": "a"}, "revision_not_found"),
    ({"model": "acme/well", "input": "a"}, "wrong_endpoint"),
    ({"model": "acme/well", "prompt": "a", "stream": "yes"}, "invalid_request"),
    ({"model": "acme/well", "prompt": "\ud83d"}, "invalid_request"),
    ({"model": "acme/well", "prompt": 10**40}, "invalid_request"),
    ({"model": "acme/well", "prompt": "a", "hf_token": 7}, "invalid_hf_token"),
    ({"openai_route": 7}, "invalid_request"),
    ({"openai_route": ""}, "route_not_found"),
    ({"openai_route": "/v1/audio/speech", "openai_input": {}}, "route_not_found"),
    ({"openai_route": "/flush_cache"}, "route_not_found"),
    ({"openai_route": "/v1/chat/completions", "openai_input": []}, "invalid_request"),
    ({"openai_route": "/v1/chat/completions", "openai_input": [1]}, "invalid_request"),
    ({"openai_route": "/v1/models", "hf_token": [7]}, "invalid_hf_token"),
    ({"openai_route": "/v1/models/../etc"}, "model_not_found"),
]


def test_wrong_input_fails_the_job_in_the_envelope(endpoint: Endpoint, well: str) -> None:
    jobs = [endpoint.platform.submit(job_input) for job_input, _ in WRONG]
    found = [(job.input, refusal(job.wait())) for job in jobs]
    assert found == WRONG
    assert not any(job.chunks for job in jobs)


def test_wrong_input_takes_nothing_down(endpoint: Endpoint, well: str) -> None:
    deep: Any = "a"
    for _ in range(400):
        deep = [deep]
    jobs = [endpoint.submit(model=well, prompt=deep), endpoint.submit(model=well, prompt="a")]
    assert refusal(jobs[0].wait()) == "invalid_request"
    assert answer(jobs[1].wait())["choices"]
