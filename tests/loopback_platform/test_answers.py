"""How the SDK posts what a handler yields, returns or raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.loopback_platform import Job
from tests.loopback_platform.harness import Harness, Start, job_input


async def has_ended(harness: Harness, job: Job) -> None:
    await eventually(lambda: f"{job.id} released" in harness.worker.said)


def test_each_yield_is_streamed_and_the_end_repeats_them_all(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", "a"], ["yield", {"b": [1, "ü"]}]))
    outcome = job.wait()
    assert outcome.status == "COMPLETED"
    assert job.outputs == outcome.output == ["a", {"b": [1, "ü"]}]
    assert job.chunks[0].at <= job.chunks[1].at <= outcome.at


def test_the_handler_goes_on_when_the_platform_has_its_chunk(generator: Harness) -> None:
    hold = generator.platform.hold_stream()
    job = generator.platform.submit(job_input(["yield", 1], ["yield", 2]))
    hold.wait()
    generator.platform.submit(job_input(["yield", 1])).wait()
    assert f"{job.id} step 1" not in generator.worker.said
    hold.release()
    assert job.wait().output == [1, 2]


def test_an_error_that_is_no_string_arrives_as_python(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", {"error": {"code": "no_room"}}]))
    assert job.wait().error == "{'code': 'no_room'}"


def test_an_error_string_arrives_as_it_is(generator: Harness) -> None:
    error = json.dumps({"error": {"code": "no_room"}})
    job = generator.platform.submit(job_input(["yield", {"error": error, "lost": 1}]))
    outcome = job.wait()
    assert (outcome.status, outcome.posted) == ("FAILED", {"error": error})


async def test_an_error_ends_the_job_before_the_handler_can_clean_up(
    generator: Harness,
) -> None:
    hold = generator.platform.hold_output()
    job = generator.platform.submit(
        job_input(["yield", 1], ["yield", {"error": "e"}], ["yield", 2])
    )
    hold.wait()
    generator.platform.submit(job_input(["yield", 1])).wait()
    assert f"{job.id} finally" not in generator.worker.said
    hold.release()
    assert job.wait().posted == {"error": "e"}
    await eventually(lambda: f"{job.id} finally" in generator.worker.said)
    assert f"{job.id} step 2" not in generator.worker.said
    assert job.outputs == [1]


def test_an_exception_shows_the_caller_its_traceback(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", 1], ["raise", "a secret"]))
    outcome = job.wait()
    assert outcome.status == "FAILED"
    assert "a secret" in outcome.error
    assert "Traceback" in outcome.error
    assert "handlers.py" in outcome.error


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(["yield bytes"], id="bytes"),
        pytest.param(["yield", "\ud83d"], id="half a surrogate pair"),
        pytest.param(["raise cancelled"], id="a CancelledError of its own"),
    ],
)
async def test_of_some_jobs_the_platform_never_hears_again(
    generator: Harness, step: list[Any]
) -> None:
    job = generator.platform.submit(job_input(step))
    await has_ended(generator, job)
    assert job.finals == []


async def test_a_broken_connection_loses_the_result(generator: Harness) -> None:
    generator.platform.break_off("job-done")
    job = generator.platform.submit(job_input(["yield", 1]))
    await has_ended(generator, job)
    assert job.finals == []


def test_a_refused_chunk_is_missing_from_the_stream_only(generator: Harness) -> None:
    generator.platform.fail("job-stream", 429)
    job = generator.platform.submit(job_input(["yield", 1], ["yield", 2]))
    assert job.wait().output == [1, 2]
    assert job.outputs == [2]


def test_a_chunk_is_posted_again_after_a_server_error(generator: Harness) -> None:
    generator.platform.fail("job-stream", 503)
    job = generator.platform.submit(job_input(["yield", 1]))
    assert job.wait().output == job.outputs == [1]


def test_a_chunk_over_a_megabyte_is_too_large(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", "x" * 1_000_000], ["yield", 2]))
    assert len(job.wait().output) == 2
    assert job.outputs == [2]
    assert len(job.refused) == 1


async def test_a_job_with_too_large_a_result_never_ends_unless_it_is_synchronous(
    generator: Harness,
) -> None:
    steps = job_input(*[["yield", "x" * 900_000]] * 12)
    assert len(generator.platform.submit(steps, synchronous=True).wait().output) == 12
    job = generator.platform.submit(steps)
    await has_ended(generator, job)
    assert len(job.chunks) == 12
    assert job.finals == []
    (size,) = job.refused
    assert size > 12 * 900_000


def test_progress_can_arrive_after_the_end(generator: Harness, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hold = generator.platform.hold_output()
    job = generator.platform.submit(job_input(["progress", "soon"], ["until", str(go)]))
    hold.wait()
    go.touch()
    assert job.wait().status == "COMPLETED"
    assert job.progress == []
    hold.release()


def test_progress_can_be_waited_for(generator: Harness) -> None:
    hold = generator.platform.hold_output()
    job = generator.platform.submit(job_input(["progress and wait", "soon"], ["yield", 1]))
    hold.wait()
    generator.platform.submit(job_input(["yield", 1])).wait()
    assert f"{job.id} step 1" not in generator.worker.said
    hold.release()
    assert job.wait().output == [1]
    assert [chunk.output for chunk in job.progress] == ["soon"]


async def test_progress_is_told_apart_from_the_end(generator: Harness, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = generator.platform.submit(job_input(["progress", "soon"], ["until", str(go)]))
    await eventually(lambda: job.progress)
    assert (job.progress[0].output, job.outcome) == ("soon", None)
    go.touch()
    assert job.wait().output == []


async def test_the_log_repeats_outputs_but_not_the_input(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", "an-output"]) | {"key": "an-input"})
    job.wait()
    await has_ended(generator, job)
    assert "an-output" in generator.worker.log
    assert "an-input" not in generator.worker.log


def test_a_generator_cannot_ask_for_a_refresh(generator: Harness) -> None:
    job = generator.platform.submit(job_input(["yield", {"refresh_worker": True}]))
    assert job.wait().posted == {"output": [{"refresh_worker": True}]}


def test_a_coroutine_may_fail_with_an_object(start: Start) -> None:
    harness = start("coroutine", RUNPOD_LOG_LEVEL="INFO")

    def posted(answer: Any, *steps: list[Any]) -> dict[str, Any]:
        return harness.platform.submit(job_input(*steps) | {"answer": answer}).wait().posted

    assert posted("as it is") == {"output": "as it is"}
    assert posted({"error": {"code": 1}, "kept": 2}) == {
        "output": {"kept": 2},
        "error": {"code": 1},
    }
    assert posted({"refresh_worker": True, "a": 1}) == {"output": {"a": 1}, "stopPod": True}
    assert posted({}) == {}
    error = json.loads(posted(None, ["raise", "boom"])["error"])
    assert error["error_message"] == "boom"
    assert "Traceback" in error["error_traceback"]
    assert "as it is" not in harness.worker.log
