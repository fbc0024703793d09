"""When the SDK asks how many jobs it may take, and how it uses the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.loopback_platform import Job
from tests.loopback_platform.harness import HANGING, Harness, Start, job_input


def test_nothing_is_taken_until_the_worker_is_ready(generator: Harness) -> None:
    assert generator.platform.submit(job_input(["yield", 1])).wait().output == [1]
    assert generator.worker.said[:2] == ["modifier 1", "modifier 0"]
    assert generator.platform.takes[0].wanted == 8


async def test_a_job_counts_twice_until_it_begins(generator: Harness, tmp_path: Path) -> None:
    seen: list[list[int]] = []
    # The SDK begins jobs every 0.1 s, and so sometimes before it asks for more.
    while [6, 7] not in seen and len(seen) < 5:
        seen.append(await wanted_after_a_job(generator, tmp_path, len(seen)))
    assert [6, 7] in seen


async def wanted_after_a_job(harness: Harness, folder: Path, number: int) -> list[int]:
    """How many jobs the two polls want that follow the one that brings a job."""
    go = folder / f"go-{number}"
    job = harness.platform.submit(job_input(["until", str(go)]))
    job.wait_until_taken()
    takes = harness.platform.takes
    mine = next(n for n, take in enumerate(takes) if job.id in take.given)
    await eventually(lambda: len(takes) > mine + 2)
    go.touch()
    job.wait()
    return [take.wanted for take in takes[mine + 1 : mine + 3]]


def test_without_a_modifier_jobs_come_one_by_one(start: Start, tmp_path: Path) -> None:
    harness = start("unmodified")
    go = tmp_path / "go"
    first = harness.platform.submit({"steps": [["until", str(go)]], "answer": 1})
    second = harness.platform.submit({"answer": 2})
    first.wait_until_taken()
    assert not second.taken.wait(1.5)
    go.touch()
    assert second.wait().output == 2
    assert {take.wanted for take in harness.platform.takes} == {1}


def test_a_change_waits_until_no_job_runs(start: Start, tmp_path: Path) -> None:
    level, go = tmp_path / "level", tmp_path / "go"
    write(level, "1")
    harness = start("scaled", CONCURRENCY_FILE=str(level))
    first = harness.platform.submit(job_input(["until", str(go)]))
    first.wait_until_taken()
    write(level, "4")
    second = harness.platform.submit(job_input(["yield", 2]))
    assert not second.taken.wait(1.5)
    go.touch()
    assert second.wait().output == [2]


async def test_zero_strands_a_job_that_was_taken_but_has_not_begun(
    start: Start, tmp_path: Path
) -> None:
    write(level := tmp_path / "level", "1")
    harness = start("scaled", poll=HANGING, CONCURRENCY_FILE=str(level))
    # The SDK begins jobs every 0.1 s, and so sometimes before it asks for the level.
    for polls in range(5):
        job = await taken_at_zero(harness, level, polls)
        if job.outcome is None:
            break
    asked = len(harness.worker.said)
    write(level, "4")
    with pytest.raises(TimeoutError):
        job.wait(2)
    assert len(harness.worker.said) == asked
    harness.platform.cancel(job)
    await eventually(lambda: f"No in-progress job for {job.id}" in harness.worker.log)


async def taken_at_zero(harness: Harness, level: Path, polls: int) -> Job:
    """A job that comes with the next poll, when the level is zero. It is stranded or done."""
    write(level, "1")
    await eventually(lambda: harness.worker.log.count("get_job: ") > polls)
    write(level, "0")
    job = harness.platform.submit(job_input(["yield", 1]))
    job.wait_until_taken()
    await eventually(lambda: job.outcome or "concurrency: 0; queue: 1" in harness.worker.log)
    return job


def write(level: Path, text: str) -> None:
    """Write in one step: the worker may read at any moment."""
    new = level.with_suffix(".new")
    new.write_text(text)
    new.replace(level)


def test_an_empty_poll_and_a_refused_one_are_followed_by_the_next(
    generator: Harness,
) -> None:
    generator.platform.fail("job-take-batch", 400, 204, 500)
    assert generator.platform.submit(job_input(["yield", 1])).wait().output == [1]
