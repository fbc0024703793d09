"""How a worker ends, and what remains of it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.changing import opened
from tests.eventually import eventually
from tests.loopback_platform.harness import HANGING, Start, job_input


async def test_at_sigterm_what_runs_is_finished_but_what_a_poll_still_brings_is_lost(
    start: Start, tmp_path: Path
) -> None:
    harness = start("refreshing", poll=HANGING)
    killed, go = tmp_path / "killed", tmp_path / "go"
    steps = (["until", str(killed)], ["pause", 0.2], ["until", str(go)], ["yield", 1])
    job = harness.platform.submit(job_input(*steps))
    job.wait_until_taken()
    await eventually(lambda: "job_in_progress=1" in harness.worker.log)
    harness.worker.send(signal.SIGTERM)
    await eventually(lambda: "Kill worker" in harness.worker.log)
    killed.touch()
    # The SDK reports no check; it checks every 0.1 s, by the clock of its own loop.
    await eventually(lambda: "job-1 step 2" in harness.worker.said)
    late = harness.platform.submit(job_input(["yield", 2]))
    late.wait_until_taken()
    go.touch()
    assert job.wait().output == [1]
    with pytest.raises(subprocess.TimeoutExpired):
        harness.worker.wait(1)  # the poll for stop signals still hangs
    harness.platform.cancel(late)
    assert harness.worker.wait() == 0
    assert late.finals == []
    assert "job-2 step 1" not in harness.worker.said


def test_a_refresh_stops_the_pod_under_the_other_jobs(start: Start, tmp_path: Path) -> None:
    harness = start("refreshing", poll=0.2)
    go = tmp_path / "go"
    other = harness.platform.submit(job_input(["until", str(go)], ["yield", 1]))
    job = harness.platform.submit(job_input(["yield", 2]))
    assert job.wait().posted == {"output": [2], "stopPod": True}
    assert other.outcome is None
    go.touch()
    assert other.wait().output == [1]
    assert harness.worker.wait() == 0
    assert harness.worker.said[-1] == "start() returned"


async def test_the_heartbeat_outlives_a_killed_worker_with_what_was_open_before(
    start: Start,
) -> None:
    harness = start("early")
    await eventually(lambda: harness.platform.pings)
    await eventually(lambda: harness.worker.said)
    heartbeat = only_child(harness.worker.pid)
    pipe = harness.worker.said[0].removeprefix("pipe ")
    assert pipe in opened(heartbeat)
    harness.worker.send(signal.SIGKILL)
    harness.worker.wait()
    pings = len(harness.platform.pings)
    await eventually(lambda: len(harness.platform.pings) > pings + 1)
    assert pipe in opened(heartbeat)


async def test_a_signal_handler_from_before_survives_in_the_heartbeat_only(
    start: Start,
) -> None:
    harness = start("early", poll=0.2, RUNPOD_LOG_LEVEL="INFO")
    await eventually(lambda: harness.platform.takes)
    # At DEBUG, a SIGTERM during the SDK's own print is lost: the SDK's line fails first.
    harness.worker.send(signal.SIGTERM)
    await eventually(lambda: "start() returned" in harness.worker.said)
    # The worker ends its heartbeat with SIGTERM, which the heartbeat now ignores.
    await eventually(lambda: "my own handler" in harness.worker.said)
    with pytest.raises(subprocess.TimeoutExpired):
        harness.worker.wait(1)
    assert harness.worker.said[-2:] == ["start() returned", "my own handler"]


async def test_a_worker_can_leave_without_losing_jobs_or_waiting_for_polls(
    start: Start, tmp_path: Path
) -> None:
    harness = start("leaving", poll=HANGING)
    go = tmp_path / "go"
    job = harness.platform.submit(job_input(["until", str(go)], ["yield", 1]))
    await eventually(lambda: "job_in_progress=1" in harness.worker.log)
    harness.worker.send(signal.SIGTERM)
    await eventually(lambda: "draining" in harness.worker.said)
    late = harness.platform.submit(job_input(["yield", 2]))
    assert late.wait().output == [2]
    later = harness.platform.submit(job_input(["yield", 3]))
    assert not later.taken.wait(1.5)
    go.touch()
    assert job.wait().output == [1]
    assert harness.worker.wait(60) == 0  # the SDK gives up a poll after 90 s
    assert harness.worker.said[-1] == "start() was cancelled"
    assert not later.taken.is_set()


def only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
