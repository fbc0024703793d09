"""The outcomes of jobs, according to their records."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from router.errors import EngineFailed, ModelNotFound
from router.requests.outcomes import Outcome
from router.requests.record import Transport
from router.requests.recorder import Recorder
from router.runpod.handler import Job, Jobs
from tests.fake_service import EVENT, SSE, Answer, FakeService, fails, hangs, says

CHAT = "/v1/chat/completions"


async def _post(job: Job, progress: dict[str, object]) -> None:
    pass


def jobs_of(answer: Answer) -> tuple[Jobs, Recorder]:
    recorder = Recorder()
    return Jobs(FakeService(answer), _post, recorder=recorder), recorder


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (says(b"{}"), Outcome.OK),
        (fails(ModelNotFound("m")), "model_not_found"),
        (fails(EngineFailed("m"), SSE, EVENT), "engine_failed"),
        (fails(ZeroDivisionError()), "internal_error"),
    ],
)
async def test_each_end_has_a_word(answer: Answer, outcome: str) -> None:
    jobs, recorder = jobs_of(answer)
    async with aclosing(jobs.handle({"id": "job-1", "input": {"messages": []}})) as outputs:
        assert [output async for output in outputs]
    (record,) = recorder.activity.ended
    assert (record.outcome, record.route, record.id) == (outcome, CHAT, "job-1")
    assert (record.transport, record.method) == (Transport.JOB, "JOB")


async def test_a_job_that_is_cancelled_was_left() -> None:
    jobs, recorder = jobs_of(hangs(SSE, EVENT))
    async with aclosing(jobs.handle({"id": "job-1", "input": {"messages": []}})) as outputs:
        await anext(outputs)
        assert len(recorder.activity.running) == 1
    (record,) = recorder.activity.ended
    assert record.outcome == Outcome.CALLER_LEFT


@pytest.mark.parametrize("given", ["x\nforged", 7, None, "a" * 500])
async def test_no_id_and_no_route_of_a_job_forges_a_line(given: object) -> None:
    jobs, recorder = jobs_of(says(b"{}"))
    job: Job = {"id": given, "input": {"openai_route": "/x\nforged", "openai_input": {}}}
    async with aclosing(jobs.handle(job)) as outputs:
        assert [output async for output in outputs]
    (record,) = recorder.activity.ended
    assert (record.id, record.route) == ("-", "-")


async def test_a_list_of_models_is_a_request_too() -> None:
    jobs, recorder = jobs_of(says(b"{}"))
    job: Job = {"id": "job-1", "input": {"openai_route": "/v1/models"}}
    async with aclosing(jobs.handle(job)) as outputs:
        assert [output async for output in outputs]
    (record,) = recorder.activity.ended
    assert (record.route, record.outcome) == ("/v1/models", Outcome.OK)
