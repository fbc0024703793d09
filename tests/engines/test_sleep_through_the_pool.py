"""Engines make room by falling asleep: pool, scheduler, launcher, engines' processes and a
pretended GPU."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engines.command import Device
from engines.launcher import SglangLauncher
from router.models import MemoryPlan, ResolvedModel
from router.pool.interfaces import Callers, FetchProgress, Snapshot, the_operator
from router.pool.pool import EnginePool
from router.scheduler.lifecycle import State
from router.scheduler.limits import Eviction, Limits
from router.scheduler.machine import Scheduler
from router.secrets import Token
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.fake_engine.behaviour import whole_lines
from tests.fake_engine.device import PretendedGpu
from tests.fake_engine.saver import taken
from tests.pool.fakes import GIB, spec

pytestmark = pytest.mark.process

WITHIN = 90.0  # seconds
WEIGHTS, CLAIM, TAKEN, LEFT = 20 * GIB, 35 * GIB, 30 * GIB, GIB
FOR_WEIGHTS = 2 * WEIGHTS  # of the host's memory
PLAN = MemoryPlan(WEIGHTS, token=GIB >> 15, overhead=GIB, context=1 << 16)


class OnDisk:
    """A downloader with all models on disk. Implements `Downloader`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def fetch(
        self,
        model: ResolvedModel,
        _credential: Token | None,
        progress: Callable[[FetchProgress], None],
        _callers: Callers = the_operator,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> Snapshot:
        progress(FetchProgress(1, 1))
        return Snapshot(self._directory / model.repo_id.rpartition("/")[2], PLAN)


class World:
    """A GPU with room for two of these engines, and a host with room for the weights of two
    more."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._notes = directory, directory / "device"
        self._notes.mkdir()
        self.gpu = PretendedGpu(self._notes)
        self.scheduler = Scheduler(
            Limits(
                self.gpu.total(),
                patience=0.0,
                sleep_memory=FOR_WEIGHTS,
                eviction=Eviction.LRU,  # the other rule depends on how long starts took
            )
        )
        self.pool = EnginePool(
            self.scheduler,
            downloader=OnDisk(directory),
            launcher=SglangLauncher(
                python=str(PYTHON),
                environ={"PATH": "/usr/bin:/bin"},
                hf_token=None,
                start_timeout=WITHIN,
                device=Device.CPU,
            ),
            gauges=(self.gpu,),
            clock=time.monotonic,
            validate=True,
        )

    def model(self, name: str, **asked: object) -> None:
        (self._directory / name).mkdir()
        (self._directory / name / FILE).write_bytes(
            behaviour(
                device=str(self._notes),
                memory=TAKEN,
                kept_asleep=LEFT,
                journal=str(self._journal(name)),
                **asked,
            )
        )

    async def ask(self, name: str, caller: str | None = None) -> None:
        """Send a request. It kills an engine that sleeps or has no memory."""
        deadline = time.monotonic() + WITHIN
        what = spec(name, memory=CLAIM)
        with self.pool.lease(what, None, deadline=deadline, caller=caller) as lease:
            await lease.granted()
            assert await lease.grant.engine.probe()
            lease.answered = True
        assert taken(self._notes) <= self.gpu.total()
        assert len(self.asleep()) * WEIGHTS <= FOR_WEIGHTS

    def asleep(self) -> set[str]:
        slots = self.scheduler.slots.values()
        return {slot.key.repo_id[-1] for slot in slots if slot.state is State.ASLEEP}

    def seen(self, name: str, *kinds: str) -> list[str]:
        """The events of these kinds in the life of its engines."""
        lines = map(json.loads, whole_lines(self._journal(name).read_bytes()))
        return [line["event"] for line in lines if line["event"] in kinds]

    async def end(self) -> None:
        await self.pool.shut_down(0.0)
        assert not self.pool.at_fault.is_set()
        assert taken(self._notes) == 0

    def _journal(self, name: str) -> Path:
        return self._directory / f"{name}.jsonl"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.end()


async def test_evicted_engines_sleep_and_wake_as_far_as_the_hosts_memory_goes(
    world: World,
) -> None:
    for name in "abcde":
        world.model(name)
    for name in "abcd":
        await world.ask(name)
    assert len(world.asleep()) == 2
    [sleeper, *_] = world.asleep()
    await world.ask(sleeper)
    assert world.seen(sleeper, "start", "release", "resume") == ["start", "release", "resume"]
    for name in "abcde" * 2:
        await world.ask(name)
    assert len(world.asleep()) == 2


async def test_an_engine_that_does_not_wake_is_started_again_and_no_caller_is_blamed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.model("a", die_at_resume=True, bad_lives=1)
    for name in "bc":
        world.model(name)
    for name in "abc":
        await world.ask(name, caller="ann")
    assert world.asleep() == {"a"}
    async with asyncio.timeout(WITHIN):
        await asyncio.gather(world.ask("a", caller="ann"), world.ask("a", caller="ben"))
    assert world.seen("a", "start", "release", "resume") == [
        *("start", "release", "resume", "start")
    ]
    assert "org/a@cccccccccccc crashed: could not wake" in caplog.text
    slot = world.scheduler.slots[spec("a").key]
    assert not slot.suspicion.active(time.monotonic())
    assert (slot.cools_for, slot.failures) == (None, 0)


async def test_an_engine_that_does_not_fall_asleep_makes_room_all_the_same(
    world: World,
) -> None:
    world.model("a", release_error=500)
    for name in "bc":
        world.model(name)
    for name in "abca":
        await world.ask(name)
    assert world.seen("a", "start", "release", "resume") == ["start", "release", "start"]
