"""Engines fall asleep and wake: only the executor's actions and reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest

from router.pool.executor import Executor
from router.pool.footprints import SLACK
from router.pool.interfaces import SleepError
from router.scheduler import actions, events
from tests.pool.fakes import (
    GIB,
    FakeClock,
    FakeDownloader,
    FakeEngine,
    FakeGauge,
    FakeLauncher,
    settle,
    spec,
)

SIZE = 30 * GIB
KEPT = 2 * GIB

E = TypeVar("E")


class Bench:
    """An executor on fakes, and its reports."""

    def __init__(self) -> None:
        self.gauge = FakeGauge()
        self.launcher = FakeLauncher(self.gauge)
        self.launcher.instant = True
        self.reports: list[events.Event] = []
        self.defects: list[BaseException] = []
        self.executor = Executor(
            self.reports.append,
            self.defects.append,
            downloader=FakeDownloader(),
            launcher=self.launcher,
            gauges=(self.gauge,),
            clock=FakeClock(),
        )
        self._generations = 0

    async def start(self, name: str) -> int:
        self._generations += 1
        allotment = actions.Allotment(SIZE, self.gauge.free(), whole=False, sleeps=True)
        start = actions.Start(spec(name), self._generations, Path(), allotment)
        self.executor.perform(start)
        await settle()
        self.engine(name).kept = KEPT
        return self._generations

    async def sleep(self, name: str, generation: int) -> None:
        self.executor.perform(actions.Sleep(spec(name).key, generation))
        await settle()

    async def wake(self, name: str, generation: int) -> None:
        self.executor.perform(actions.Wake(spec(name).key, generation))
        await settle()

    async def stop(self, name: str, generation: int) -> None:
        self.executor.perform(actions.Stop(spec(name).key, generation, "test", at_once=False))
        await settle()

    def engine(self, name: str) -> FakeEngine:
        return self.launcher.engine(name)

    def last(self, kind: type[E]) -> E:
        report = self.reports[-1]
        assert isinstance(report, kind)
        return report


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.executor.abort()
    assert not bench.launcher.alive, "an engine was left behind"
    assert not bench.defects
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_sleeper_holds_only_what_did_not_come_free(bench: Bench) -> None:
    generation = await bench.start("a")
    await bench.sleep("a", generation)
    assert bench.last(events.Asleep) == events.Asleep(spec("a").key, generation, 0, KEPT)


async def test_a_sleeper_that_wakes_answers(bench: Bench) -> None:
    generation = await bench.start("a")
    for _ in range(2):
        await bench.sleep("a", generation)
        await bench.wake("a", generation)
        assert bench.last(events.Awake) == events.Awake(spec("a").key, generation)
    assert not bench.engine("a").asleep


async def test_what_sleepers_hold_is_not_missing_and_what_nobody_holds_is(bench: Bench) -> None:
    first, second = await bench.start("a"), await bench.start("b")
    await bench.sleep("a", first)
    await bench.stop("b", second)
    assert bench.last(events.Gone).missing == 0
    third = await bench.start("c")
    bench.gauge.taken["leaked"] = 9 * GIB
    await bench.stop("c", third)
    assert bench.last(events.Gone).missing == 9 * GIB - 2 * SLACK


async def test_the_memory_of_an_engine_that_woke_is_its_own_again(bench: Bench) -> None:
    first, second = await bench.start("a"), await bench.start("b")
    await bench.sleep("a", first)
    await bench.wake("a", first)
    await bench.stop("b", second)
    assert bench.last(events.Gone).missing == 0


async def test_another_engine_starts_in_the_room_that_a_sleeper_made(bench: Bench) -> None:
    first = await bench.start("a")
    await bench.sleep("a", first)
    second = await bench.start("b")
    await bench.stop("b", second)
    assert bench.last(events.Gone).missing == 0
    assert bench.gauge.free() == 100 * GIB - KEPT


async def test_memory_that_another_engine_frees_meanwhile_is_not_the_sleepers(
    bench: Bench,
) -> None:
    first, second = await bench.start("a"), await bench.start("b")
    bench.engine("a").drowsy = drowsy = asyncio.Event()
    await bench.sleep("a", first)
    await bench.stop("b", second)
    drowsy.set()
    await settle()
    assert bench.last(events.Asleep).left == KEPT


async def test_an_engine_that_gives_nothing_back_is_of_no_use(bench: Bench) -> None:
    generation = await bench.start("a")
    bench.engine("a").kept = SIZE
    await bench.sleep("a", generation)
    assert "could not fall asleep" in bench.last(events.Crashed).reason


@pytest.mark.parametrize("moment", ["sleep_fails", "wake_fails"])
async def test_an_engine_that_can_not_change_has_crashed(bench: Bench, moment: str) -> None:
    generation = await bench.start("a")
    setattr(bench.engine("a"), moment, SleepError("CUDA error"))
    await bench.sleep("a", generation)
    if moment == "wake_fails":
        await bench.wake("a", generation)
    assert bench.last(events.Crashed).generation == generation
    assert not bench.executor.at_fault.is_set()
    await bench.stop("a", generation)
    assert bench.last(events.Gone).missing == 0


async def test_a_sleeper_that_dies_has_crashed(bench: Bench) -> None:
    generation = await bench.start("a")
    await bench.sleep("a", generation)
    bench.engine("a").die()
    await settle()
    assert bench.last(events.Crashed).reason == "killed by SIGKILL"


@pytest.mark.parametrize("asleep", [False, True])
async def test_a_stop_ends_an_engine_that_falls_asleep_or_wakes(
    bench: Bench, asleep: bool
) -> None:
    generation = await bench.start("a")
    if asleep:
        await bench.sleep("a", generation)
    bench.engine("a").drowsy = asyncio.Event()
    await (bench.wake if asleep else bench.sleep)("a", generation)
    before = len(bench.reports)
    await bench.stop("a", generation)
    assert bench.reports[before:] == [events.Gone(spec("a").key, generation, 0)]


async def test_a_stop_ends_a_sleeper(bench: Bench) -> None:
    generation = await bench.start("a")
    await bench.sleep("a", generation)
    await bench.stop("a", generation)
    assert bench.last(events.Gone).missing == 0
    assert bench.gauge.free() == 100 * GIB


async def test_a_broken_pool_leaves_no_engine_that_falls_asleep(bench: Bench) -> None:
    generation = await bench.start("a")
    bench.engine("a").drowsy = asyncio.Event()
    await bench.sleep("a", generation)
    await bench.executor.abort()
    assert not bench.launcher.alive


async def test_a_device_that_can_not_be_measured_is_at_fault(bench: Bench) -> None:
    generation = await bench.start("a")

    async def lost(target: int) -> int:
        raise OSError("GPU is lost")

    bench.gauge.settled = lost  # type: ignore[method-assign]
    await bench.sleep("a", generation)
    assert bench.executor.at_fault.is_set()
    assert bench.last(events.Crashed).generation == generation


async def test_an_engine_that_is_being_stopped_neither_sleeps_nor_wakes(bench: Bench) -> None:
    generation = await bench.start("a")
    await bench.stop("a", generation)
    before = list(bench.reports)
    await bench.sleep("a", generation)
    await bench.wake("a", generation)
    assert bench.reports == before
