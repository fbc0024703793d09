"""Sleep frees memory: executor, launcher, an engine's process and a pretended GPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engines.command import Device
from engines.launcher import SglangLauncher
from router.pool.executor import Executor
from router.scheduler import actions, events
from tests.eventually import eventually
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.fake_engine.device import PretendedGpu
from tests.fake_engine.saver import taken
from tests.pool.fakes import GIB, FakeClock, FakeDownloader, spec

pytestmark = pytest.mark.process

WITHIN = 90.0  # seconds


class GpuOfASlowEngine(PretendedGpu):
    """Once it is waited for, memory comes free; `slowly` says how much will be free."""

    slowly: int | None = None

    async def settled(self, target: int) -> int:
        if (free := self.slowly) is not None:
            await eventually(lambda: self.free() == free)
        return await super().settled(target)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory, self.notes = directory, directory / "device"
        self.notes.mkdir()
        self.gpu = GpuOfASlowEngine(self.notes)
        self.reports: asyncio.Queue[events.Event] = asyncio.Queue()
        self.defects: list[BaseException] = []
        self.executor = Executor(
            self.reports.put_nowait,
            self.defects.append,
            downloader=FakeDownloader(),
            launcher=SglangLauncher(
                python=str(PYTHON),
                environ={"PATH": "/usr/bin:/bin"},
                hf_token=None,
                start_timeout=WITHIN,
                device=Device.CPU,
            ),
            gauges=(self.gpu,),
            clock=FakeClock(),
        )

    async def report(self) -> events.Event:
        return await asyncio.wait_for(self.reports.get(), WITHIN)

    async def start(self, generation: int, **asked: object) -> events.Event:
        (self.directory / FILE).write_bytes(behaviour(device=str(self.notes), **asked))
        allotment = actions.Allotment(40 * GIB, self.gpu.free(), whole=False, sleeps=True)
        self.executor.perform(actions.Start(spec(), generation, self.directory, allotment))
        return await self.report()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.executor.abort()
    assert (bench.defects, taken(bench.notes)) == ([], 0)


async def test_memory_that_comes_free_slowly_is_measured_when_it_is_free(bench: Bench) -> None:
    await bench.start(1, memory=30 * GIB, kept_asleep=2 * GIB, frees_after=0.5)
    bench.gpu.slowly = 78 * GIB
    bench.executor.perform(actions.Sleep(spec().key, 1))
    assert await bench.report() == events.Asleep(spec().key, 1, missing=0, left=2 * GIB)
    assert bench.gpu.free() == 78 * GIB
    bench.executor.perform(actions.Wake(spec().key, 1))
    assert await bench.report() == events.Awake(spec().key, 1)
    assert bench.gpu.free() == 50 * GIB


async def test_an_engine_that_releases_nothing_has_crashed(bench: Bench) -> None:
    await bench.start(1, memory=30 * GIB, kept_asleep=30 * GIB)
    bench.executor.perform(actions.Sleep(spec().key, 1))
    assert isinstance(await bench.report(), events.Crashed)


async def test_an_engine_that_dies_of_waking_has_crashed_and_leaves_nothing(
    bench: Bench,
) -> None:
    await bench.start(1, memory=30 * GIB, die_at_resume=True)
    bench.executor.perform(actions.Sleep(spec().key, 1))
    assert isinstance(await bench.report(), events.Asleep)
    bench.executor.perform(actions.Wake(spec().key, 1))
    assert isinstance(await bench.report(), events.Crashed)
    bench.executor.perform(actions.Stop(spec().key, 1, "test", at_once=True))
    while isinstance(report := await bench.report(), events.Crashed):
        pass  # its death may be reported too
    assert report == events.Gone(spec().key, 1, missing=0)


@pytest.mark.parametrize("asked", [{"release_takes": 60.0}, {"resume_takes": 60.0}])
async def test_a_stop_ends_an_engine_in_the_middle_of_a_change(
    bench: Bench, asked: dict[str, float]
) -> None:
    await bench.start(1, memory=30 * GIB, **asked)
    bench.executor.perform(actions.Sleep(spec().key, 1))
    if "resume_takes" in asked:
        assert isinstance(await bench.report(), events.Asleep)
        bench.executor.perform(actions.Wake(spec().key, 1))
    bench.executor.perform(actions.Stop(spec().key, 1, "test", at_once=False))
    assert await bench.report() == events.Gone(spec().key, 1, missing=0)
