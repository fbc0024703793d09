"""A caller that leaves disturbs no other caller, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.caller import Answer, Caller
from tests.e2e.harness import ENDLESS, Harness
from tests.eventually import eventually
from tests.worker import Worker

FULL = (429, "queue_full")


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="1", MAX_QUEUE="1") as worker:
        yield worker


def has_room(worker: Worker, model: str) -> bool:
    """Whether the model is being started. Its process may run earlier, up to its gate."""
    return f": starting {model}@" in worker.log


async def leave(call: asyncio.Task[Answer]) -> None:
    """Hang up."""
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


async def test_leaving_in_mid_stream_cancels_the_generation(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/left-in-mid-stream", **ENDLESS)
    async with caller.stream(model) as stream:
        await stream.event()
    await eventually(lambda: harness.journal.events("cancelled", model))
    (cancelled,) = harness.journal.events("cancelled", model)
    assert cancelled["sent"] > 0


async def test_leaving_before_the_first_byte_cancels_the_generation(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/left-early", hang=True)
    call = asyncio.create_task(caller.chat(model))
    await eventually(lambda: harness.journal.events("request", model))
    await leave(call)
    await eventually(lambda: harness.journal.events("cancelled", model))


async def test_leaving_ends_the_lease_that_an_eviction_waits_for(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    busy, next_one = harness.model("acme/busy", **ENDLESS), harness.model("acme/next")
    async with caller.stream(busy) as stream:
        await stream.event()
        waiting = asyncio.create_task(caller.chat(next_one))
        await eventually(lambda: f"fetching {next_one}" in worker.log)
        await stream.event()  # its generation continues
        assert not waiting.done()
        assert not has_room(worker, next_one)
    assert (await waiting).text == f"I am {next_one}"


async def test_leaving_the_queue_frees_the_place(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    busy, wanted = harness.model("acme/busy-too", **ENDLESS), harness.model("acme/wanted")
    async with caller.stream(busy) as stream:
        await stream.event()
        first = asyncio.create_task(caller.chat(wanted))
        await eventually(lambda: f"fetching {wanted}" in worker.log)
        refused = await caller.chat(wanted)
        assert refused.refusal == FULL
        assert int(refused.headers["Retry-After"]) >= 1

        earlier = worker.log.count(" caller_left ")
        await leave(first)
        await eventually(lambda: worker.log.count(" caller_left ") > earlier)
        second = asyncio.create_task(caller.chat(wanted))
        refused_at_once, _ = await asyncio.wait({second}, timeout=0.3)
        assert not refused_at_once
    assert (await second).text == f"I am {wanted}"


async def test_leaving_while_a_model_starts_leaves_the_start_to_others(
    worker: Worker, harness: Harness, caller: Caller, tmp_path: Path
) -> None:
    begin = tmp_path / "begin"
    model = harness.model("acme/started-for-two", starts_with=str(begin))
    call = asyncio.create_task(caller.chat(model))
    await eventually(lambda: has_room(worker, model))
    await leave(call)
    another = asyncio.create_task(caller.chat(model))
    begin.touch()
    assert (await another).text == f"I am {model}"
    assert len(harness.journal.events("start", model)) == 1
