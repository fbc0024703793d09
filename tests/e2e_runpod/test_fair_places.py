"""One caller's long jobs and another caller's short jobs on the same model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import Endpoint, QueueHarness, said, streamed
from tests.eventually import eventually

PLACES = 8  # one of them is kept free


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint(MAX_CONCURRENCY=str(PLACES), MAX_LOADED_MODELS="2") as endpoint:
        yield endpoint


async def test_long_jobs_of_one_caller_leave_another_one_a_place(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    long, short = (harness.hub.add_account(name) for name in ("long", "short"))
    model = harness.model("acme/shared", **ENDLESS)
    for token in (long, short):  # from now on, the model is shared
        assert said(endpoint.chat(model, hf_token=token, max_tokens=3).wait()) == "I am " + (
            model
        )
    jobs = [endpoint.stream(model, hf_token=long) for _ in range(PLACES)]
    await eventually(lambda: sum(bool(job.chunks) for job in jobs) == PLACES - 1)
    await eventually(lambda: all(job.taken.is_set() for job in jobs))
    for ask in (endpoint.chat, endpoint.stream):
        job = ask(model, hf_token=short, max_tokens=3)
        outcome = await asyncio.to_thread(job.wait)
        assert outcome.status == "COMPLETED"
    assert streamed(job) == f"I am {model}"
    assert sum(bool(job.chunks) for job in jobs) == PLACES - 1
    assert all(job.outcome is None for job in jobs)
    (waiting,) = [job for job in jobs if not job.chunks]
    endpoint.cancel(next(job for job in jobs if job.chunks))
    await eventually(lambda: waiting.chunks)  # after the end of its caller's other job
    for job in jobs:
        endpoint.cancel(job)
