"""Sleep and waking, with a real process that has SGLang's memory saver."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engines.command import Device
from engines.launcher import SglangEngine, SglangLauncher
from engines.sleep import SleepSwitch
from router.models import EngineSpec, ResolvedModel, Task
from router.pool.interfaces import SleepError
from router.scheduler.actions import Allotment
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.fake_engine.behaviour import whole_lines

pytestmark = pytest.mark.process

GIB = 1 << 30
WITHIN = 90.0  # seconds; far more than anything here takes


class Bench:
    """Starts engines, and reads the commands they got."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._journal = directory / "journal"
        self.launcher = SglangLauncher(
            python=str(PYTHON),
            environ={"PATH": "/usr/bin:/bin"},
            hf_token=None,
            start_timeout=WITHIN,
            device=Device.CPU,
        )

    async def start(
        self, task: Task = Task.GENERATE, *, sleeps: bool = True, **asked: object
    ) -> SglangEngine:
        (self._directory / FILE).write_bytes(behaviour(journal=str(self._journal), **asked))
        spec = EngineSpec(ResolvedModel("org/name", "c" * 40, task))
        allotment = Allotment(claim=GIB, free=GIB, whole=True, sleeps=sleeps)
        engine = await self.launcher.start(spec, self._directory, allotment)
        self._stack.push_async_callback(engine.stop, at_once=True)
        return engine

    def told(self) -> list[str]:
        """The commands to the engine, in order."""
        names = ("flush", "release", "resume", "request", "health while asleep")
        return [line["event"] for line in self.lines() if line["event"] in names]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in whole_lines(self._journal.read_bytes())]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(tmp_path, stack)


async def chat(engine: SglangEngine) -> str:
    body = {"model": engine.served_name, "messages": [{"role": "user", "content": "?"}]}
    url = f"{engine.url}/v1/chat/completions"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=engine.signed) as answer,
    ):
        content: str = (await answer.json())["choices"][0]["message"]["content"]
        return content


async def test_an_engine_that_slept_answers_as_before(bench: Bench) -> None:
    engine = await bench.start()
    for _ in range(2):
        await engine.sleep()
        await engine.wake()
        assert await chat(engine) == "I am org/name"


async def test_the_cache_is_emptied_before_its_memory_goes(bench: Bench) -> None:
    engine = await bench.start()
    await engine.sleep()
    assert bench.told() == ["flush", "release"]


async def test_an_engine_is_awake_only_when_it_has_computed_a_token(bench: Bench) -> None:
    engine = await bench.start()
    await engine.sleep()
    await engine.wake()
    assert bench.told()[2:] == ["resume", "request"]
    assert bench.lines()[-1]["path"] == "/generate"


async def test_an_embedding_engine_is_not_asked_to_generate(bench: Bench) -> None:
    engine = await bench.start(Task.EMBED)
    await engine.sleep()
    await engine.wake()
    assert bench.lines()[-1]["path"] == "/encode"


async def test_a_request_whose_caller_has_left_ends_before_the_memory_goes(
    bench: Bench,
) -> None:
    engine = await bench.start(tokens=4, interval=0.1)
    asked = asyncio.create_task(chat(engine))
    await _until(lambda: "request" in bench.told())
    await engine.sleep()
    assert (await asked).startswith("I am")
    assert bench.told() == ["request", "flush", "release"]


async def test_an_engine_that_stays_busy_is_not_told_to_release(bench: Bench) -> None:
    engine = await bench.start(hang=True)
    switch = SleepSwitch(
        engine.url,
        engine.signed,
        Task.GENERATE,
        able=True,
        sessions=aiohttp.ClientSession,
        sleep_timeout=0.5,
    )
    asked = asyncio.create_task(chat(engine))
    await _until(lambda: "request" in bench.told())
    with pytest.raises(SleepError, match=r"not asleep after 0\.5 s"):
        await switch.sleep()
    assert bench.told() == ["request"]
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked


async def test_a_sleeper_is_not_probed(bench: Bench) -> None:
    engine = await bench.start()
    await engine.sleep()
    assert await engine.probe()
    assert bench.told() == ["flush", "release"]
    await engine.wake()
    assert await engine.probe()


async def test_a_probe_ends_before_the_engine_falls_asleep(bench: Bench) -> None:
    engine = await bench.start(interval=0.01)
    probes = asyncio.gather(*(engine.probe() for _ in range(5)))
    await asyncio.sleep(0)
    await engine.sleep()
    assert await probes == [True] * 5
    assert "health while asleep" not in bench.told()


async def test_an_engine_without_the_saver_is_left_alone(bench: Bench) -> None:
    engine = await bench.start(sleeps=False)
    with pytest.raises(SleepError, match="without SGLang's memory saver"):
        await engine.sleep()
    assert bench.told() == []


async def test_no_engine_is_woken_twice_or_put_to_sleep_twice(bench: Bench) -> None:
    engine = await bench.start()
    with pytest.raises(SleepError, match="it is awake, not asleep"):
        await engine.wake()
    await engine.sleep()
    with pytest.raises(SleepError, match="it is asleep, not awake"):
        await engine.sleep()
    await engine.wake()
    with pytest.raises(SleepError, match="it is awake, not asleep"):
        await engine.wake()
    assert await chat(engine) == "I am org/name"


async def test_a_failed_change_is_the_last(bench: Bench) -> None:
    engine = await bench.start(release_error=500)
    with pytest.raises(SleepError, match=r"release_memory_occupation answered 500.*CUDA error"):
        await engine.sleep()
    for change in (engine.sleep, engine.wake):
        with pytest.raises(SleepError, match="it is changing"):
            await change()


async def test_an_engine_that_dies_of_waking_says_so(bench: Bench) -> None:
    engine = await bench.start(die_at_resume=True)
    await engine.sleep()
    with pytest.raises(SleepError, match="did not answer"):
        await engine.wake()
    async with asyncio.timeout(WITHIN):
        assert "SIGKILL" in await engine.exited()


async def test_a_sleeper_that_was_killed_can_not_wake(bench: Bench) -> None:
    engine = await bench.start()
    await engine.sleep()
    os.kill(bench.lines()[0]["pid"], signal.SIGKILL)
    await engine.exited()
    with pytest.raises(SleepError, match="did not answer"):
        await engine.wake()


@pytest.mark.parametrize("asked", [{"release_takes": 60.0}, {"resume_takes": 60.0}])
async def test_an_engine_that_takes_too_long_fails(bench: Bench, asked: dict[str, Any]) -> None:
    engine = await bench.start(**asked)
    switch = SleepSwitch(
        engine.url,
        engine.signed,
        Task.GENERATE,
        able=True,
        sessions=aiohttp.ClientSession,
        sleep_timeout=1.0,
        wake_timeout=1.0,
    )
    with pytest.raises(SleepError, match="after 1 s"):
        await _nap(switch)


@pytest.mark.parametrize("asked", [{"release_takes": 60.0}, {"resume_takes": 60.0}])
async def test_a_change_can_be_cancelled_and_the_engine_stopped(
    bench: Bench, asked: dict[str, Any]
) -> None:
    engine = await bench.start(**asked)
    task = asyncio.create_task(_nap(engine))
    await _until(lambda: bench.told()[-1:] == [next(iter(asked)).removesuffix("_takes")])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.stop()
    async with asyncio.timeout(WITHIN):
        await engine.exited()


async def _nap(sleeper: SglangEngine | SleepSwitch) -> None:
    await sleeper.sleep()
    await sleeper.wake()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.01)
