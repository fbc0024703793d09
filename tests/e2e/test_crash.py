"""Engines that die, hang or never start: the answers that their callers get."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import aiohttp
import pytest

from tests.e2e.caller import CHAT, DONE, Answer, Caller, calling, chat
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e.processes import command
from tests.eventually import eventually
from tests.worker import Worker

FAILED = (502, "engine_failed")
COOLS_DOWN = (503, "engine_unavailable")


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="8", STALL_TIMEOUT="1") as worker:
        yield worker


async def test_an_engine_killed_in_mid_stream_is_told_in_band_and_replaced(
    harness: Harness, worker: Worker, caller: Caller
) -> None:
    model = harness.model("acme/killed", **ENDLESS)
    async with caller.stream(model) as stream:
        await stream.event()
        harness.journal.kill_engine(model)
        *_, last, done = await stream.rest()
    assert json.loads(last)["error"]["code"] == "engine_failed"
    assert done == DONE
    # It waits for the exit status no longer than for a stalled engine.
    reason = "(killed by SIGKILL|connection lost|it stalled: )"
    await eventually(lambda: re.search(f"{model}@.* crashed: {reason}", worker.log))
    assert f"stopping {model}@" not in worker.log  # one line is enough
    async with caller.stream(model) as stream:
        assert json.loads(await stream.event())["choices"]
    assert len(harness.journal.events("start", model)) == 2


async def test_all_streams_of_a_killed_engine_are_told(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/killed-for-all", **ENDLESS)
    all_begun = asyncio.Barrier(6)

    async def end_of_stream() -> list[str]:
        async with caller.stream(model) as stream:
            await stream.event()
            await all_begun.wait()
            return (await stream.rest())[-2:]

    streams = [asyncio.create_task(end_of_stream()) for _ in range(5)]
    await all_begun.wait()
    harness.journal.kill_engine(model)
    for error, done in await asyncio.gather(*streams):
        assert json.loads(error)["error"]["code"] == "engine_failed"
        assert done == DONE


async def test_an_answer_that_is_no_stream_breaks_off_visibly(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/cut", die_after_bytes=10, bad_lives=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.chat(model)
    assert (await caller.chat(model)).text == f"I am {model}"


async def test_a_request_whose_engine_died_unheard_is_tried_again_unseen(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/dies-once", die_before_answer=True, bad_lives=1)
    assert (await caller.chat(model)).text == f"I am {model}"
    assert len(harness.journal.events("start", model)) == 2
    assert len(harness.journal.events("request", model)) == 2


async def test_a_stream_whose_engine_died_unheard_is_tried_again_unseen(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/streams-later", die_after_bytes=0, bad_lives=1)
    async with caller.stream(model) as stream:
        assert await stream.text() == f"I am {model}"
    assert len(harness.journal.events("request", model)) == 2


async def test_a_request_that_kills_every_engine_is_tried_twice_only(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/always-dies", die_before_answer=True)
    assert (await caller.chat(model)).refusal == FAILED
    assert len(harness.journal.events("request", model)) == 2
    _assert_cools_down(await caller.chat_until(COOLS_DOWN, model))


async def test_an_engine_that_can_not_start_is_left_to_cool_down(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    words = "ValueError: this model is beyond me"
    model = harness.model("acme/stillborn", die_at_start=3, last_words=words)
    answers = await caller.chat_until(COOLS_DOWN, model)
    assert len(answers) > 2
    _assert_cools_down(answers)
    assert len(harness.journal.events("start", model)) == len(answers) - 1
    await eventually(lambda: words in worker.log)
    assert all(words.encode() in answer.body for answer in answers)


def _assert_cools_down(answers: list[Answer]) -> None:
    """The cool-down gets longer with each failure, and in the end outlasts the next request."""
    *failed, refused = answers
    assert {answer.refusal for answer in failed} <= {FAILED}
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json["error"]["retry_after"] == int(refused.headers["Retry-After"])


async def test_an_engine_that_is_never_ready_is_given_up(harness: Harness) -> None:
    model = harness.model("acme/never-ready", never_ready=True)
    with harness.worker(ENGINE_START_TIMEOUT="3") as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(model)).refusal == FAILED
        await eventually(lambda: "not ready after 3 s" in worker.log)
        await eventually(lambda: not _processes_of(worker, model))


async def test_a_dead_engine_leaves_no_other_process(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/parent", spawn_children=2, spawn_daemons=1, **ENDLESS)
    async with caller.stream(model) as stream:
        await stream.event()
        assert len(_processes_of(worker, model)) >= 4
        harness.journal.kill_engine(model)
        await stream.rest()
    await eventually(lambda: not _processes_of(worker, model))


async def test_a_silent_engine_is_replaced_and_its_request_answered(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/silent", hang=True, unwell=True, bad_lives=1)
    assert (await caller.chat(model)).text == f"I am {model}"
    assert len(harness.journal.events("start", model)) == 2


async def test_a_slow_engine_that_is_well_is_left_alone(
    harness: Harness, caller: Caller, worker: Worker
) -> None:
    model = harness.model("acme/slow", tokens=1, interval=2.5)
    assert (await caller.chat(model)).text == "I"
    assert len(harness.journal.events("start", model)) == 1


async def test_an_engines_refusal_does_not_count_as_its_death(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/refuses", error=500)
    for _ in range(3):
        assert (await caller.post(CHAT, chat(model))).status == 500
    assert len(harness.journal.events("start", model)) == 1


def _processes_of(worker: Worker, model: str) -> list[int]:
    return [pid for pid in worker.processes() if model in command(pid)]
