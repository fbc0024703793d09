"""Prestarted processes, as callers and the operator see them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e.processes import command
from tests.eventually import eventually
from tests.worker import Worker

WEIGHTS = r"/cdn/.*/model\.safetensors"


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="1", STANDBY_ENGINES="1") as worker:
        yield worker


async def test_the_next_model_waits_at_its_gate_while_an_engine_is_in_use(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    used, following = harness.model("acme/in-use", **ENDLESS), harness.model("acme/next")
    async with caller.stream(used) as stream:
        await stream.event()
        call = asyncio.create_task(caller.chat(following))
        await eventually(lambda: f"{following}@" in _lines(worker, "stands by"))
        assert not harness.journal.events("activated", following)
    assert (await call).text == f"I am {following}"
    [_] = harness.journal.events("start", following)
    [_] = harness.journal.events("activated", following)
    await _in_this_order(
        *(f"prestarting {following}", f"{following}@... stands by"),
        *(f"stopping {used}@...: evicted", f"{used}@... is gone"),
        *(f"starting {following}", f"{following}@... is ready after ... (prestarted)"),
        worker=worker,
    )


async def test_an_evicted_model_that_is_likely_to_be_wanted_gets_a_spare_process(
    harness: Harness, caller: Caller
) -> None:
    often, once = harness.model("acme/often"), harness.model("acme/once")
    for _ in range(3):
        assert (await caller.chat(often)).text == f"I am {often}"
    assert (await caller.chat(once)).text == f"I am {once}"
    await eventually(lambda: len(harness.journal.events("gate", often)) == 2)
    assert (await caller.chat(often)).text == f"I am {often}"
    assert len(harness.journal.events("start", often)) == 2
    assert len(harness.journal.events("activated", often)) == 2


async def test_a_process_that_was_killed_at_its_gate_costs_nobody_an_answer(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    used, killed = harness.model("acme/goes-on", **ENDLESS), harness.model("acme/killed")
    async with caller.stream(used) as stream:
        await stream.event()
        call = asyncio.create_task(caller.chat(killed))
        await eventually(lambda: f"{killed}@" in _lines(worker, "stands by"))
        harness.journal.kill_engine(killed)
        await eventually(
            lambda: f"{killed}@" in worker.log.rpartition(" did not start: ")[0][-120:]
        )
    assert (await call).text == f"I am {killed}"
    assert len(harness.journal.events("start", killed)) == 2
    assert not harness.journal.events("activated", killed)


@pytest.mark.parametrize("next_one", ["the same", "another"])
async def test_a_process_whose_caller_has_left_serves_the_next_one_or_makes_way(
    harness: Harness, next_one: str
) -> None:
    name = next_one.replace(" ", "-")
    used, left = harness.model(f"acme/before-{name}", **ENDLESS), harness.model(f"acme/{name}")
    model = left if next_one == "the same" else harness.model("acme/third")
    with harness.worker(MAX_LOADED_MODELS="1") as worker:
        async with calling(worker.url) as caller:
            async with caller.stream(used) as stream:
                await stream.event()
                call = asyncio.create_task(caller.chat(left))
                await eventually(lambda: f"{left}@" in _lines(worker, "stands by"))
                call.cancel()
                call = asyncio.create_task(caller.chat(model))
                if model != left:
                    await eventually(lambda: not _processes_of(worker, left))
                    await eventually(lambda: f"{model}@" in _lines(worker, "stands by"))
            assert (await call).text == f"I am {model}"
    assert len(harness.journal.events("start", left)) == 1


async def test_a_process_starts_while_its_weights_are_downloaded(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/coming")
    harness.hub.faults.add(WEIGHTS, "hang", times=None)
    call = asyncio.create_task(caller.chat(model))
    await eventually(lambda: f"{model}@" in _lines(worker, "stands by"))
    harness.hub.faults.clear()
    assert (await call).text == f"I am {model}"
    [_] = harness.journal.events("start", model)
    [_] = harness.journal.events("activated", model)


async def test_a_process_ends_with_the_download_that_it_waits_for(
    worker: Worker, harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/not-coming")
    harness.hub.faults.add(WEIGHTS, "cut", times=None)
    assert (await caller.chat(model)).refusal == (503, "hub_unavailable")
    harness.hub.faults.clear()
    await eventually(lambda: not _processes_of(worker, model))
    await _in_this_order(
        f"prestarting {model}", f"stopping {model}@...: its download failed", worker=worker
    )


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", "kill -9"])
async def test_no_process_at_its_gate_outlives_the_worker(harness: Harness, how: str) -> None:
    used = harness.model(f"acme/used-{how[:4]}", **ENDLESS)
    following = harness.model(f"acme/following-{how[:4]}", spawn_children=1)
    with harness.new_worker(MAX_LOADED_MODELS="1", DRAIN_TIMEOUT="1") as worker:
        async with calling(worker.url) as caller, caller.stream(used) as stream:
            await stream.event()
            call = asyncio.create_task(caller.chat(following))
            await eventually(lambda: f"{following}@" in _lines(worker, "stands by"))
            match how:
                case "Ctrl-C":
                    worker.interrupt()
                case "kill -9":
                    os.kill(worker.pid, signal.SIGKILL)
                case _:
                    worker.send(signal.SIGTERM)
            await asyncio.wait({call})
        if how != "kill -9":
            assert call.result().refusal == (503, "engine_unavailable")
            assert worker.wait() == 0
            assert not worker.processes()
        await eventually(lambda: not worker.processes())


def _lines(worker: Worker, words: str) -> str:
    return "".join(line for line in worker.lines if words in line)


def _processes_of(worker: Worker, model: str) -> list[int]:
    return [pid for pid in worker.processes() if model in command(pid)]


async def _in_this_order(*expected: str, worker: Worker) -> None:
    """Wait for lines of the log, in this order. `...` in an expected line matches anything."""

    def are_there() -> bool:
        lines = iter(worker.log.splitlines())
        return all(
            any(all(part in line for part in one.split("...")) for line in lines)
            for one in expected
        )

    await eventually(are_there)
