"""The executor handles engines that start before they may take memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.pool.executor import Executor
from router.scheduler import actions, events
from router.scheduler.actions import Allotment
from tests.pool.fakes import (
    GIB,
    FakeClock,
    FakeDownloader,
    FakeGauge,
    FakeLauncher,
    settle,
    spec,
)

KEY = spec("a").key


class Stage:
    """An executor on fakes, and its reports."""

    def __init__(self) -> None:
        self.clock, self.gauge = FakeClock(), FakeGauge()
        self.launcher = FakeLauncher(self.gauge)
        self.launcher.context = GIB // 2
        self.reports: list[events.Event] = []
        self.defects: list[BaseException] = []
        self.executor = Executor(
            self.reports.append,
            self.defects.append,
            downloader=FakeDownloader(),
            launcher=self.launcher,
            gauges=(self.gauge,),
            clock=self.clock,
        )

    async def prestart(self, name: str = "a", generation: int = 1) -> None:
        self.executor.perform(
            actions.Prestart(spec(name), generation, Path("/s"), self.allotment())
        )
        await settle()

    async def stands(self, name: str = "a", generation: int = 1) -> None:
        await self.prestart(name, generation)
        self.launcher.at_gate(name)
        await settle()

    async def start(self, name: str = "a", generation: int = 1) -> None:
        self.executor.perform(
            actions.Start(spec(name), generation, Path("/s"), self.allotment())
        )
        await settle()

    async def ready(self, name: str = "a") -> None:
        self.launcher.ready(name)
        await settle()

    async def stop(self, name: str = "a", generation: int = 1) -> None:
        self.executor.perform(actions.Stop(spec(name).key, generation, "test", at_once=True))
        await settle()

    def allotment(self) -> Allotment:
        return Allotment(20 * GIB, self.gauge.free(), whole=False, tokens=1000)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await asyncio.wait_for(stage.executor.abort(), 60)
    assert not stage.launcher.alive, "an engine was left behind"
    assert stage.defects == []


async def test_a_prestarted_engine_stands_by_and_takes_no_more_than_its_context(
    stage: Stage,
) -> None:
    await stage.prestart()
    assert stage.reports == []
    await stage.ready()
    assert stage.reports == [events.Standing(KEY, 1)]
    assert stage.gauge.free() == 100 * GIB - GIB // 2


async def test_a_prestarted_engine_goes_on_when_it_is_started(stage: Stage) -> None:
    await stage.stands()
    await stage.start()
    await stage.ready()
    assert stage.reports == [
        events.Standing(KEY, 1),
        events.Healthy(KEY, 1, taken=20 * GIB),
    ]
    assert len(stage.launcher.starts) == 1
    assert 1 in stage.executor.engines


async def test_an_engine_that_is_started_before_it_stands_goes_on_at_once(
    stage: Stage,
) -> None:
    await stage.prestart()
    await stage.start()
    stage.launcher.at_gate()
    await settle()
    await stage.ready()
    assert stage.reports == [events.Healthy(KEY, 1)]
    assert len(stage.launcher.starts) == 1


async def test_a_prestarted_engine_that_is_stopped_leaves_nothing(stage: Stage) -> None:
    await stage.stands()
    await stage.stop()
    assert stage.reports[1:] == [events.Gone(KEY, 1, missing=0)]
    assert (stage.launcher.alive, stage.gauge.free()) == (set(), 100 * GIB)


async def test_an_engine_that_is_stopped_on_its_way_to_the_gate_leaves_nothing(
    stage: Stage,
) -> None:
    await stage.prestart()
    await stage.stop()
    assert stage.reports == [events.Gone(KEY, 1, missing=0)]


async def test_an_engine_that_is_stopped_as_soon_as_it_was_prestarted_leaves_nothing(
    stage: Stage,
) -> None:
    stage.executor.perform(actions.Prestart(spec("a"), 1, Path("/s"), stage.allotment()))
    await stage.stop()
    assert not stage.launcher.alive


async def test_an_engine_that_dies_at_its_gate_has_failed_to_start_once(stage: Stage) -> None:
    await stage.stands()
    stage.launcher.fail(told="ValueError: no", out_of_memory=True, unsupported=True)
    await settle()
    [_, failed] = stage.reports
    assert failed == events.StartFailed(KEY, 1, "exit status 1", True, "ValueError: no", True)
    await stage.start()  # decided before the scheduler learned of it
    assert len(stage.reports) == 2
    assert len(stage.launcher.starts) == 1
    await stage.stop()
    assert stage.reports[2:] == [events.Gone(KEY, 1, missing=0)]


async def test_an_engine_at_its_gate_holds_up_no_stop_of_another(stage: Stage) -> None:
    await stage.start("b", 2)
    await stage.ready("b")
    await stage.stands()
    await stage.stop("b", 2)
    assert events.Gone(spec("b").key, 2, missing=0) in stage.reports


async def test_what_engines_hold_at_their_gates_is_not_missing(stage: Stage) -> None:
    await stage.start("b", 9)
    await stage.ready("b")
    for number, name in enumerate("acdef", 1):
        await stage.prestart(name, number)
    for name in "acdef":
        stage.launcher.at_gate(name)
    await settle()
    await stage.stop("b", 9)
    assert events.Gone(spec("b").key, 9, missing=0) in stage.reports


async def test_memory_that_is_lost_is_missing_also_beside_engines_at_their_gates(
    stage: Stage,
) -> None:
    await stage.stands()
    await stage.start("b", 2)
    await stage.ready("b")
    stage.gauge.outsiders = 10 * GIB
    await stage.stop("b", 2)
    [gone] = [one for one in stage.reports if isinstance(one, events.Gone)]
    assert 7 * GIB <= gone.missing <= 10 * GIB


async def test_all_engines_at_their_gates_end_with_the_pool(stage: Stage) -> None:
    await stage.stands("a", 1)
    await stage.prestart("b", 2)
    await asyncio.wait_for(stage.executor.abort(), 60)
    assert not stage.launcher.alive


async def test_the_time_of_a_start_counts_from_when_it_was_wanted(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await stage.prestart()
    stage.clock.advance(20)
    await stage.ready()
    stage.clock.advance(1000)
    await stage.start()
    stage.clock.advance(4.2)
    await stage.ready()
    assert f"{KEY} is ready after 4.2 s (prestarted)" in caplog.messages
