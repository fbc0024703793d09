"""A canceled job disturbs no other job, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import ENDLESS
from tests.e2e_runpod.harness import Endpoint, QueueHarness, refusal, said
from tests.eventually import eventually
from tests.loopback_platform import Job


@pytest.fixture(scope="module")
def endpoint(harness: QueueHarness) -> Iterator[Endpoint]:
    with harness.endpoint(MAX_LOADED_MODELS="1", MAX_QUEUE="1") as endpoint:
        yield endpoint


async def waits(endpoint: Endpoint, model: str) -> Job:
    """Submit a job for a model that has no room yet."""
    job = endpoint.chat(model)
    await eventually(lambda: f"fetching {model}" in endpoint.worker.log)
    assert job.outcome is None
    return job


def has_room(endpoint: Endpoint, model: str) -> bool:
    """Whether the model is being started. Its process may run earlier, up to its gate."""
    return f": starting {model}@" in endpoint.worker.log


def assert_silent(job: Job) -> None:
    """The job's result was never posted: nobody waits for it."""
    assert job.wait().status == "CANCELLED"
    assert job.finals == []


async def test_cancelling_in_mid_stream_ends_the_lease_that_an_eviction_waits_for(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    busy, wanted = harness.model("acme/busy", **ENDLESS), harness.model("acme/next")
    job = endpoint.stream(busy)
    await eventually(lambda: job.chunks)
    waiting = await waits(endpoint, wanted)
    assert not has_room(endpoint, wanted)
    endpoint.cancel(job)
    assert said(waiting.wait()) == f"I am {wanted}"
    assert len(harness.journal.events("cancelled", busy)) == 1
    assert_silent(job)


async def test_cancelling_while_a_chunk_is_being_posted_does_too(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    busy, wanted = harness.model("acme/posting", **ENDLESS), harness.model("acme/next-too")
    hold = endpoint.hold()
    job = endpoint.stream(busy)
    hold.wait()
    waiting = await waits(endpoint, wanted)
    endpoint.cancel(job)
    assert said(waiting.wait()) == f"I am {wanted}"
    assert len(harness.journal.events("cancelled", busy)) == 1
    assert_silent(job)


async def test_cancelling_before_the_first_byte_cancels_the_generation(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    model = harness.model("acme/thinks", hang=True)
    job = endpoint.chat(model)
    await eventually(lambda: harness.journal.events("request", model))
    endpoint.cancel(job)
    await eventually(lambda: harness.journal.events("cancelled", model))
    assert_silent(job)


async def test_cancelling_who_waits_frees_the_place_in_the_queue(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    wanted = harness.model("acme/wanted")
    busy = endpoint.stream(harness.model("acme/busy-too", **ENDLESS))
    await eventually(lambda: busy.chunks)
    first = await waits(endpoint, wanted)
    assert refusal(endpoint.chat(wanted).wait()) == "queue_full"

    stopped = endpoint.worker.log.count("Job stopped.")
    endpoint.cancel(first)
    await eventually(lambda: endpoint.worker.log.count("Job stopped.") > stopped)
    second = endpoint.chat(wanted)
    with pytest.raises(TimeoutError):  # a refusal would come at once
        second.wait(0.5)
    endpoint.cancel(busy)
    assert said(second.wait()) == f"I am {wanted}"
    assert_silent(first)


async def test_cancelling_while_a_model_starts_leaves_the_start_to_others(
    harness: QueueHarness, endpoint: Endpoint, tmp_path: Path
) -> None:
    begin = tmp_path / "begin"
    model = harness.model("acme/started-for-two", starts_with=str(begin))
    job = endpoint.chat(model)
    await eventually(lambda: has_room(endpoint, model))
    endpoint.cancel(job)
    another = endpoint.chat(model)
    begin.touch()
    assert said(another.wait()) == f"I am {model}"
    assert len(harness.journal.events("start", model)) == 1
    assert_silent(job)


async def test_many_run_at_once_and_are_cancelled_one_by_one(
    harness: QueueHarness, endpoint: Endpoint
) -> None:
    model = harness.model("acme/for-many", **ENDLESS)
    jobs = [endpoint.stream(model)]
    await eventually(lambda: jobs[0].chunks)  # now the queue, which holds one, is empty
    jobs += [endpoint.stream(model) for _ in range(31)]
    await eventually(lambda: all(job.chunks for job in jobs))
    assert len(harness.journal.events("request", model)) == len(jobs)
    assert not harness.journal.events("cancelled", model)
    for number, job in enumerate(jobs, 1):
        endpoint.cancel(job)
        if number == len(jobs) // 2:
            await eventually(
                lambda: len(harness.journal.events("cancelled", model)) == len(jobs) // 2
            )
    await eventually(lambda: len(harness.journal.events("cancelled", model)) == len(jobs))
    for job in jobs:
        assert_silent(job)
