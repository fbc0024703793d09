"""`runpod.serverless.start` before it takes the first job."""

from __future__ import annotations

import json

from tests.eventually import eventually
from tests.loopback_platform.harness import Start


async def test_a_callable_object_is_not_seen_to_be_a_generator(start: Start) -> None:
    harness = start("callable")
    job = harness.platform.submit("hello")
    await eventually(lambda: "Error while returning job result" in harness.worker.log)
    assert (job.outputs, job.finals) == ([], [])


def test_a_local_test_praises_a_generator_that_never_ran(start: Start) -> None:
    test = json.dumps({"input": {"steps": [["raise", "boom"]]}})
    harness = start("generator", "--test_input", test)
    assert harness.worker.wait() == 0
    assert "completed successfully" in harness.worker.log
    assert "async_generator object take_steps" in harness.worker.log
    assert harness.worker.said == []


def test_an_unfit_worker_says_so_and_ends(start: Start) -> None:
    harness = start(
        "generator",
        RUNPOD_SKIP_AUTO_SYSTEM_CHECKS="false",
        RUNPOD_MIN_MEMORY_GB="0",
        RUNPOD_MIN_DISK_PERCENT="101",
    )
    assert harness.worker.wait() == 1
    (ping,) = harness.platform.pings
    assert ping.status == "unhealthy"
    assert "Insufficient disk space" in (ping.reason or "")
