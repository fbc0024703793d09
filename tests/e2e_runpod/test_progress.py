"""What a job receives while it waits: a report every 5 s, or, if it streams, a comment after 10
s of silence. The tests here share one long wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.caller import Json
from tests.e2e_runpod.harness import Endpoint, QueueHarness, said, streamed
from tests.eventually import eventually
from tests.loopback_platform import Job

SLOW_START = 11.0  # seconds
SLOW, LARGE, QUICK = "acme/slow-to-start", "acme/slow-to-fetch", "acme/quick"


@dataclass(frozen=True)
class Waits:
    """Jobs that waited at the same time and were answered in the end."""

    start: Job
    start_streamed: Job
    fetch: Job
    fetch_streamed: Job
    nothing: Job  # its model was ready

    @classmethod
    def begin(cls, harness: QueueHarness, endpoint: Endpoint) -> Waits:
        start, start_streamed = endpoint.chat(SLOW), endpoint.stream(SLOW)
        asyncio.run(eventually(lambda: harness.journal.events("start", SLOW)))
        harness.hub.faults.add("/cdn/.*", "stall", times=None)
        fetch, fetch_streamed = endpoint.chat(LARGE), endpoint.stream(LARGE)
        return cls(start, start_streamed, fetch, fetch_streamed, endpoint.chat(QUICK))


@pytest.fixture(scope="module")
def waits(harness: QueueHarness) -> Iterator[Waits]:
    harness.model(SLOW, start_delay=SLOW_START)
    for model in (LARGE, QUICK):
        harness.model(model)
    with harness.endpoint(MAX_LOADED_MODELS="3", MODEL_NAME=QUICK) as endpoint:
        waits = Waits.begin(harness, endpoint)
        waits.start.wait()
        harness.hub.faults.clear()
        waits.fetch.wait()
        yield waits


def test_a_slow_start_is_reported_before_the_answer(waits: Waits) -> None:
    reports = assert_told_before_the_answer(waits.start)
    assert len(reports) >= 2
    assert {report["stage"] for report in reports} == {"starting"}
    assert said(waits.start.wait()) == f"I am {SLOW}"


def test_a_slow_download_is_reported_with_its_bytes(waits: Waits) -> None:
    reports = assert_told_before_the_answer(waits.fetch)
    fetching = [report for report in reports if report["stage"] == "fetching"]
    assert len(fetching) >= 2
    assert all(0 < report["bytes_done"] < report["bytes_total"] for report in fetching)
    assert fetching[0]["bytes_total"] > 1000
    assert said(waits.fetch.wait()) == f"I am {LARGE}"


def assert_told_before_the_answer(job: Job) -> list[Json]:
    assert len(job.finals) == 1
    assert all(report.at < job.wait().at for report in job.progress)
    return [report.output for report in job.progress]


def test_a_stream_that_waits_long_gets_comments(waits: Waits) -> None:
    for job, harness, model in (
        (waits.start_streamed, "starting", SLOW),
        (waits.fetch_streamed, "fetching", LARGE),
    ):
        assert streamed(job) == f"I am {model}"
        assert job.outputs[0].startswith(f": {harness}")
        assert job.progress == []


def test_a_job_that_need_not_wait_is_told_nothing(waits: Waits) -> None:
    assert said(waits.nothing.wait()) == f"I am {QUICK}"
    assert waits.nothing.progress == []
