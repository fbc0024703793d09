"""A canceled job's task is canceled; the effect depends on what the task was doing."""

from __future__ import annotations

from pathlib import Path

from tests.eventually import eventually
from tests.loopback_platform.harness import HANGING, Harness, Start, job_input


async def test_a_handler_that_waits_is_cancelled_where_it_is(
    generator: Harness, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    other = generator.platform.submit(job_input(["until", str(go)], ["yield", 1]))
    job = generator.platform.submit(job_input(["yield", 1], ["until", "/never"]))
    await eventually(lambda: job.chunks)
    generator.platform.cancel(job)
    assert job.wait().status == "CANCELLED"
    await eventually(lambda: f"{job.id} finally" in generator.worker.said)
    go.touch()
    assert other.wait().output == [1]
    assert job.finals == []


async def test_a_handler_whose_chunk_is_on_its_way_stays_until_garbage_is_collected(
    generator: Harness,
) -> None:
    hold = generator.platform.hold_stream()
    job = generator.platform.submit(job_input(["yield", 1], ["yield", 2]))
    hold.wait()
    generator.platform.cancel(job)
    await eventually(lambda: f"{job.id} released" in generator.worker.said)
    generator.platform.submit(job_input(["yield", 3])).wait()
    assert f"{job.id} finally" not in generator.worker.said
    generator.platform.submit(job_input(["collect garbage"])).wait()
    await eventually(lambda: f"{job.id} finally" in generator.worker.said)
    assert job.finals == []


async def test_a_handler_can_be_closed_although_its_chunk_is_on_its_way(start: Start) -> None:
    harness = start("leaving", poll=HANGING)
    hold = harness.platform.hold_stream()
    job = harness.platform.submit(job_input(["yield", 1], ["yield", 2]))
    hold.wait()
    harness.platform.cancel(job)
    await eventually(lambda: f"{job.id} finally" in harness.worker.said)
    assert harness.worker.said == ["job-1 released", "job-1 finally"]
