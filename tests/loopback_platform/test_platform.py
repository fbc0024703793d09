"""The platform's own rules, without a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.loopback_platform import LoopbackPlatform
from tests.loopback_platform.jobs import PATIENCE


@pytest.fixture
def platform() -> Iterator[LoopbackPlatform]:
    with LoopbackPlatform(poll=0.1) as platform:
        yield platform


def ask(
    platform: LoopbackPlatform,
    variable: str,
    body: str | None = None,
    *,
    route: tuple[str, str] = ("", ""),
    job: str = "pod",
    more: str = "",
    key: str | None = None,
) -> tuple[int, Any]:
    """A request that the SDK would send to the URL in a variable: status and JSON, if any."""
    environment = platform.environment()
    url = urlsplit(environment[variable].replace("$ID", job).replace(*route))
    connection = HTTPConnection(url.netloc, timeout=PATIENCE)
    headers = {"Authorization": key or environment["RUNPOD_AI_API_KEY"]}
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, f"{url.path}?{url.query}{more}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if answer.status == 200 else None
    finally:
        connection.close()


def take(platform: LoopbackPlatform) -> tuple[int, Any]:
    return ask(platform, "RUNPOD_WEBHOOK_GET_JOB", more="&job_in_progress=0")


def stop(platform: LoopbackPlatform) -> tuple[int, Any]:
    return ask(platform, "RUNPOD_WEBHOOK_GET_JOB", route=("/job-take/", "/job-stop/"))


def test_a_single_job_is_an_object_and_a_batch_a_list(platform: LoopbackPlatform) -> None:
    for number in range(4):
        platform.submit({"n": number})
    assert take(platform) == (200, {"id": "job-1", "input": {"n": 0}})
    batch = ask(
        platform,
        "RUNPOD_WEBHOOK_GET_JOB",
        route=("/job-take/", "/job-take-batch/"),
        more="&batch_size=2&job_in_progress=1",
    )
    assert [job["id"] for job in batch[1]] == ["job-2", "job-3"]
    assert [take.job_in_progress for take in platform.takes] == [False, True]


def test_a_job_that_nobody_has_is_cancelled_without_a_stop_signal(
    platform: LoopbackPlatform,
) -> None:
    job = platform.submit({})
    platform.cancel(job)
    assert job.wait().status == "CANCELLED"
    assert take(platform) == stop(platform) == (204, None)


def test_a_stop_signal_is_given_once(platform: LoopbackPlatform) -> None:
    job = platform.submit({})
    take(platform)
    platform.cancel(job)
    job.wait()
    assert stop(platform) == (200, {"jobsToStop": ["job-1"]})
    assert stop(platform) == (204, None)


def test_a_result_after_the_cancel_is_kept_apart(platform: LoopbackPlatform) -> None:
    job = platform.submit({})
    take(platform)
    platform.cancel(job)
    assert ask(platform, "RUNPOD_WEBHOOK_POST_OUTPUT", '{"output": 1}', job=job.id)[0] == 200
    assert (job.wait().status, job.finals) == ("CANCELLED", [{"output": 1}])


@pytest.mark.parametrize("body", ["", "no JSON", '{"output": NaN}', '{"output": Infinity}'])
def test_what_is_not_json_is_refused(platform: LoopbackPlatform, body: str) -> None:
    job = platform.submit({})
    assert ask(platform, "RUNPOD_WEBHOOK_POST_STREAM", body, job=job.id)[0] == 400
    assert job.chunks == []


def test_nobody_comes_in_with_another_key(platform: LoopbackPlatform) -> None:
    assert ask(platform, "RUNPOD_WEBHOOK_PING", key="another")[0] == 401


def test_an_unknown_job_is_not_found(platform: LoopbackPlatform) -> None:
    assert ask(platform, "RUNPOD_WEBHOOK_POST_OUTPUT", "{}", job="job-9")[0] == 404


def test_whoever_waits_for_what_does_not_come_is_told(platform: LoopbackPlatform) -> None:
    job = platform.submit({})
    with pytest.raises(TimeoutError, match="job-1 has not ended"):
        job.wait(0.01)
    with pytest.raises(TimeoutError):
        platform.hold_stream().wait(0.01)
