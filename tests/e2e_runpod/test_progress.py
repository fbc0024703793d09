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

SLOW, LARGE, QUICK = "acme/slow-to-start", "acme/slow-to-fetch", "acme/quick"


@dataclass(frozen=True)
class Waits:
    """Jobs that waited at the same time and were answered in the end."""

    start: Job
    start_streamed: Job
    fetch: Job
    fetch_streamed: Job
    nothing: Job  # its model was ready

    def told(self) -> bool:
        """Whether all that wait have been told so, and each job without a stream again."""
        return (
            len(starts(self.start)) >= 2
            and len(downloads(self.fetch)) >= 2
            and commented(self.start_streamed, "starting")
            and commented(self.fetch_streamed, "fetching")
        )

    @classmethod
    def begin(cls, harness: QueueHarness, endpoint: Endpoint) -> Waits:
        start, start_streamed = endpoint.chat(SLOW), endpoint.stream(SLOW)
        asyncio.run(eventually(lambda: harness.journal.events("start", SLOW)))
        harness.hub.faults.add("/cdn/.*", "stall", times=None)
        fetch, fetch_streamed = endpoint.chat(LARGE), endpoint.stream(LARGE)
        return cls(start, start_streamed, fetch, fetch_streamed, endpoint.chat(QUICK))


@pytest.fixture(scope="module")
def waits(harness: QueueHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waits]:
    begin = tmp_path_factory.mktemp("slow") / "begin"
    harness.model(SLOW, starts_with=str(begin))
    for model in (LARGE, QUICK):
        harness.model(model)
    with harness.endpoint(MAX_LOADED_MODELS="3", MODEL_NAME=QUICK) as endpoint:
        waits = Waits.begin(harness, endpoint)
        asyncio.run(eventually(waits.told))
        begin.touch()
        waits.start.wait()
        harness.hub.faults.clear()
        waits.fetch.wait()
        yield waits


def test_a_slow_start_is_reported_before_the_answer(waits: Waits) -> None:
    *_, last = assert_told_before_the_answer(waits.start)
    assert last["stage"] == "starting"
    assert said(waits.start.wait()) == f"I am {SLOW}"


def test_a_slow_download_is_reported_with_its_bytes(waits: Waits) -> None:
    assert_told_before_the_answer(waits.fetch)
    fetching = downloads(waits.fetch)
    assert all(report["bytes_done"] < report["bytes_total"] for report in fetching)
    assert fetching[0]["bytes_total"] > 1000
    assert said(waits.fetch.wait()) == f"I am {LARGE}"


def starts(job: Job) -> list[Json]:
    return [one.output for one in job.progress if one.output["stage"] == "starting"]


def downloads(job: Job) -> list[Json]:
    """The reports of a download whose first bytes have come."""
    told = [one.output for one in job.progress if one.output["stage"] == "fetching"]
    return [one for one in told if one.get("bytes_done")]


def commented(job: Job, stage: str) -> bool:
    return any(output.startswith(f": {stage}") for output in job.outputs)


def assert_told_before_the_answer(job: Job) -> list[Json]:
    assert len(job.finals) == 1
    assert all(report.at < job.wait().at for report in job.progress)
    return [report.output for report in job.progress]


def test_a_stream_that_waits_long_gets_comments(waits: Waits) -> None:
    for job, stage, model in (
        (waits.start_streamed, "starting", SLOW),
        (waits.fetch_streamed, "fetching", LARGE),
    ):
        assert streamed(job) == f"I am {model}"
        assert commented(job, stage)
        assert job.progress == []


def test_a_job_that_need_not_wait_is_told_nothing(waits: Waits) -> None:
    assert said(waits.nothing.wait()) == f"I am {QUICK}"
    assert waits.nothing.progress == []
