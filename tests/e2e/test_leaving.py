"""However a worker ends, it leaves nothing on the machine."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.changing import below
from tests.e2e.caller import DONE, calling
from tests.e2e.harness import ENDLESS, Harness
from tests.eventually import eventually
from tests.worker import Worker


def left_behind(worker: Worker) -> Callable[[], bool]:
    return lambda: not worker.processes()


async def test_a_killed_worker_leaves_no_engine_that_serves(harness: Harness) -> None:
    model = harness.model("acme/serving", spawn_children=1, spawn_daemons=1, **ENDLESS)
    with harness.new_worker() as worker:
        async with calling(worker.url) as caller, caller.stream(model) as stream:
            await stream.event()
            assert len(worker.processes()) >= 4
            worker.kill()
            await eventually(left_behind(worker))


async def test_a_killed_worker_leaves_no_engine_that_starts(harness: Harness) -> None:
    model = harness.model("acme/starting", never_ready=True, spawn_children=1)
    with harness.new_worker() as worker:
        async with calling(worker.url) as caller:
            call = asyncio.create_task(caller.chat(model))
            await eventually(lambda: harness.journal.events("start", model))
            worker.kill()
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await call
        await eventually(left_behind(worker))


async def test_a_killed_worker_leaves_no_download_and_no_partial_file(harness: Harness) -> None:
    model = harness.model("acme/downloading")
    earlier = len(harness.hub.requests)
    with harness.new_worker(STANDBY_ENGINES="0") as worker:
        harness.hub.faults.add(r"/cdn/.*", "hang", times=None)
        async with calling(worker.url) as caller:
            call = asyncio.create_task(caller.chat(model))
            await eventually(
                lambda: any("/cdn/" in r.path for r in harness.hub.requests[earlier:])
            )
            assert len(worker.processes()) == 2
            worker.kill()
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await call
        await eventually(left_behind(worker))
        harness.hub.faults.clear()
        assert not below(worker.directory, "*.incomplete")


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C"])
async def test_a_worker_told_to_leave_lets_streams_end(
    harness: Harness, tmp_path: Path, how: str
) -> None:
    end = tmp_path / "end"
    model = harness.model(f"acme/last-words-{how.lower()}", tokens=20, ends_with=str(end))
    with harness.new_worker(DRAIN_TIMEOUT="60") as worker:
        async with calling(worker.url) as caller, caller.stream(model) as stream:
            first = json.loads(await stream.event())
            worker.interrupt() if how == "Ctrl-C" else worker.send(signal.SIGTERM)
            await eventually(lambda: "leaving" in worker.log)
            with pytest.raises(OSError, match="onnect"):
                await caller.get("/ping")
            end.touch()
            rest = await stream.rest()
        assert len([first, *rest]) == 1 + 20 + 1 + 1  # role, words, reason, [DONE]
        assert rest[-1] == DONE
        assert worker.wait() == 0
        assert not worker.processes()


async def test_a_worker_told_to_leave_refuses_who_waits(
    harness: Harness, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    busy = harness.model("acme/busy", ends_with=str(end))
    waiting = harness.model("acme/waiting")
    with harness.new_worker(MAX_LOADED_MODELS="1", DRAIN_TIMEOUT="60") as worker:
        async with calling(worker.url) as caller, caller.stream(busy) as stream:
            await stream.event()
            queued = asyncio.create_task(caller.chat(waiting))
            await eventually(lambda: f"fetching {waiting}" in worker.log)
            worker.send(signal.SIGTERM)
            assert (await queued).refusal == (503, "engine_unavailable")
            end.touch()
            assert (await stream.rest())[-1] == DONE
        assert worker.wait() == 0


async def test_a_second_signal_cuts_streams_off(harness: Harness) -> None:
    model = harness.model("acme/for-ever", **ENDLESS)
    with harness.new_worker(DRAIN_TIMEOUT="60") as worker:
        async with calling(worker.url) as caller, caller.stream(model) as stream:
            await stream.event()
            worker.send(signal.SIGTERM)
            await eventually(lambda: "leaving" in worker.log)
            worker.send(signal.SIGTERM)
            *_, error, done = await stream.rest()
            assert json.loads(error)["error"]["code"] == "engine_failed"
            assert "This worker is leaving" in json.loads(error)["error"]["message"]
            assert done == DONE
        assert worker.wait() == 0
        assert not worker.processes()


async def test_a_stream_that_outlives_the_drain_is_told_so(harness: Harness) -> None:
    model = harness.model("acme/outlives", **ENDLESS)
    with harness.new_worker(DRAIN_TIMEOUT="0.2") as worker:
        async with calling(worker.url) as caller, caller.stream(model) as stream:
            await stream.event()
            worker.send(signal.SIGTERM)
            *_, error, done = await stream.rest()
            assert json.loads(error)["error"]["code"] == "engine_failed"
            assert "This worker is leaving" in json.loads(error)["error"]["message"]
            assert done == DONE
        assert worker.wait() == 0
    assert "POST /v1/chat/completions shut_down engine_failed acme/outlives" in worker.log


def test_a_worker_whose_port_is_taken_says_so_and_fails(harness: Harness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        worker = harness.new_worker(PORT=port)
        worker.start()
        try:
            assert worker.wait() == 1
        finally:
            worker.end()
    assert re.search(
        rf"CRITICAL .*can't listen on 127.0.0.1:{port}: Address already in use: ", worker.log
    )
    assert worker.log.count(port) == 1
    assert "Traceback" not in worker.log


def test_a_worker_with_an_unusable_setting_says_which_and_fails(harness: Harness) -> None:
    worker = harness.new_worker(MAX_QUEUE="many")
    worker.start()
    try:
        assert worker.wait() == 2
    finally:
        worker.end()
    assert "MAX_QUEUE='many': must be a whole number, 1 or more" in worker.log
    assert len(worker.lines) == 1


@pytest.mark.parametrize(
    ("default", "refusal"),
    [
        ("acme/nowhere", (404, "model_not_found")),
        ("acme/locked", (403, "model_gated")),
        ("acme/huge", (422, "model_too_large")),
    ],
)
async def test_a_default_that_can_not_be_served_leaves_the_worker_up(
    harness: Harness, default: str, refusal: tuple[int, str]
) -> None:
    other = harness.model(f"acme/beside-{default.rpartition('/')[2]}")
    if default == "acme/locked":
        harness.model(default, gated=True)
    if default == "acme/huge":
        harness.model(default, answer="x" * 20_000)
    with harness.worker(MODEL_NAME=default, MAX_MODEL_BYTES="15000B") as worker:
        await eventually(lambda: f"{default} can't be served" in worker.log)
        async with calling(worker.url) as caller:
            await eventually(lambda: "router: ready" in worker.log)
            assert (await caller.get("/ping")).status == 200
            assert (await caller.chat(None)).refusal == refusal
            assert (await caller.chat(other)).text == f"I am {other}"
        assert worker.log.count("CRITICAL") == 1
