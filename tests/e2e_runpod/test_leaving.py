"""However a worker ends, results are posted and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.e2e.caller import DONE
from tests.e2e.harness import ENDLESS
from tests.e2e.processes import command, engines
from tests.e2e_runpod.harness import Endpoint, QueueHarness, events, refusal, said, streamed
from tests.eventually import eventually

NUMBERS = "one two three four "
SOON = 45.0  # seconds; the platform's polls take much longer


def assert_gone(endpoint: Endpoint, status: int = 0) -> None:
    worker = endpoint.worker
    assert worker.wait(SOON) == status, worker.log
    assert not worker.processes()
    assert "Traceback" not in worker.log


def test_an_idle_worker_leaves_at_once(harness: QueueHarness) -> None:
    model = harness.model("acme/idle")
    with harness.started() as one, harness.started() as other:
        for job in (one.chat(model), other.chat(model)):
            assert said(job.wait()) == f"I am {model}"
        one.worker.send(signal.SIGTERM)
        other.worker.send(signal.SIGINT)
        assert_gone(one)
        assert_gone(other)


async def test_a_worker_whose_default_is_still_starting_leaves_at_once(
    harness: QueueHarness,
) -> None:
    model = harness.model("acme/never-ready", never_ready=True)
    with harness.started(MODEL_NAME=model) as endpoint:
        await eventually(lambda: harness.journal.events("start", model))
        endpoint.worker.send(signal.SIGTERM)
        assert_gone(endpoint)
        assert not endpoint.platform.takes


async def test_streams_end_and_who_waits_is_refused(
    harness: QueueHarness, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    model = harness.model("acme/last-words", answer=5 * NUMBERS, ends_with=str(end))
    wanted = harness.model("acme/wanted")
    with harness.started(MAX_LOADED_MODELS="1", DRAIN_TIMEOUT="60") as endpoint:
        job = endpoint.stream(model)
        await eventually(lambda: job.chunks)
        waiting = endpoint.chat(wanted)
        await eventually(lambda: f"fetching {wanted}" in endpoint.worker.log)
        endpoint.worker.send(signal.SIGTERM)
        assert refusal(waiting.wait()) == "engine_unavailable"
        end.touch()
        assert streamed(job) == 5 * NUMBERS
        assert_gone(endpoint)


async def test_a_result_that_is_being_posted_is_waited_for(
    harness: QueueHarness, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    model = harness.model("acme/posted-late", ends_with=str(end))
    with harness.started(DRAIN_TIMEOUT="60") as endpoint:
        hold = endpoint.platform.hold_output()
        job = endpoint.chat(model)
        await eventually(lambda: harness.journal.events("request", model))
        endpoint.worker.send(signal.SIGTERM)
        end.touch()
        hold.wait()
        await eventually(lambda: not engines(endpoint.worker))
        assert job.outcome is None
        hold.release()
        assert said(job.wait()) == f"I am {model}"
        assert_gone(endpoint)


async def test_a_job_that_was_just_taken_is_not_lost(harness: QueueHarness) -> None:
    model = harness.model("acme/just-in-time")
    with harness.started() as endpoint:
        assert said(endpoint.chat(model).wait()) == f"I am {model}"
        await eventually(lambda: endpoint.worker.log.count("Jobs in queue") == 1)
        job = endpoint.chat(model)
        await eventually(lambda: endpoint.worker.log.count("Jobs in queue") == 2)
        endpoint.worker.send(signal.SIGTERM)  # the SDK starts it within a tenth of a second
        assert job.wait().status in {"COMPLETED", "FAILED"}
        assert_gone(endpoint)


async def test_a_stream_that_outlives_the_drain_is_told_so(harness: QueueHarness) -> None:
    with harness.started(DRAIN_TIMEOUT="0.2") as endpoint:
        job = endpoint.stream(harness.model("acme/outlives", **ENDLESS))
        await eventually(lambda: job.chunks)
        endpoint.worker.send(signal.SIGTERM)
        assert job.wait().status == "COMPLETED"
        *_, error, done = events(job)
        assert json.loads(error)["error"]["code"] == "engine_failed"
        assert done == DONE
        assert_gone(endpoint)


async def test_a_killed_worker_leaves_no_engine_and_no_download(harness: QueueHarness) -> None:
    serving = harness.model("acme/serving", spawn_children=1, spawn_daemons=1, **ENDLESS)
    fetched = harness.model("acme/fetched")
    with harness.started(STANDBY_ENGINES="0") as endpoint:
        worker = endpoint.worker
        job = endpoint.stream(serving)
        await eventually(lambda: job.chunks)
        harness.hub.faults.add("/cdn/.*", "hang", times=None)
        endpoint.chat(fetched)
        await eventually(
            lambda: any("router.downloads.child" in command(p) for p in worker.processes())
        )
        heartbeat = the_heartbeat(endpoint)
        worker.send(signal.SIGKILL)
        # If nothing ends the container, the SDK's own process outlives the worker.
        await eventually(lambda: worker.processes() == [heartbeat])
        os.kill(heartbeat, signal.SIGKILL)
        harness.hub.faults.clear()


def the_heartbeat(endpoint: Endpoint) -> int:
    """The process id of the worker's fork that pings."""
    pid = endpoint.worker.pid
    (fork,) = (
        p for p in endpoint.worker.processes() if p != pid and command(p) == command(pid)
    )
    return fork
