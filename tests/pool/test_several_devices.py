"""The pool on two devices: measurements and reports of each."""

from __future__ import annotations

import asyncio

from router.models import MemoryPlan
from router.pool.devices import Devices
from router.pool.pool import EnginePool
from router.scheduler.actions import Allotment
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from tests.pool.fakes import (
    GIB,
    FakeClock,
    FakeDownloader,
    FakeGauge,
    FakeLauncher,
    settle,
    spec,
)

BUDGET = 100 * GIB
PAIR = MemoryPlan(40 * GIB, token=0, overhead=GIB, context=4096, devices=2)


def allotted(devices: tuple[int, ...], free: int = BUDGET) -> Allotment:
    return Allotment(50 * GIB, free, whole=False, devices=devices)


class Machine:
    """Two devices with engines on them. The test updates the footprints like the executor."""

    def __init__(self) -> None:
        self.gauges = (FakeGauge(), FakeGauge())
        self.devices = Devices(self.gauges)

    def load(self, generation: int, devices: tuple[int, ...], *sizes: int) -> int | None:
        self.devices.loads(generation, allotted(devices), self.devices.free())
        for device, size in zip(devices, sizes, strict=True):
            self.gauges[device].taken[generation] = size
        return self.devices.started(generation, self.devices.free())

    def end(self, generation: int) -> None:
        for gauge in self.gauges:
            gauge.taken.pop(generation, None)
        self.devices.ended(generation)


def test_an_engine_of_two_devices_has_taken_what_it_took_of_the_fuller_one() -> None:
    assert Machine().load(1, (0, 1), 20 * GIB, 21 * GIB) == 21 * GIB


def test_what_another_device_takes_meanwhile_disturbs_no_measurement() -> None:
    machine = Machine()
    machine.devices.loads(1, allotted((0,)), machine.devices.free())
    machine.gauges[0].taken[1] = 20 * GIB
    assert machine.load(2, (1,), 30 * GIB) == 30 * GIB
    assert machine.devices.started(1, machine.devices.free()) == 20 * GIB


def test_an_end_on_another_device_disturbs_no_measurement() -> None:
    machine = Machine()
    machine.load(1, (0,), 20 * GIB)
    machine.devices.loads(2, allotted((1,)), machine.devices.free())
    machine.gauges[1].taken[2] = 30 * GIB
    machine.end(1)
    assert machine.devices.started(2, machine.devices.free()) == 30 * GIB


async def test_memory_is_missing_on_the_device_where_it_did_not_come_back() -> None:
    machine = Machine()
    machine.load(1, (0, 1), 20 * GIB, 20 * GIB)
    machine.end(1)
    machine.gauges[1].outsiders = 10 * GIB
    first, second = await machine.devices.missing((0, 1))
    assert first == 0
    assert 0 < second <= 10 * GIB


async def test_an_engine_asleep_holds_what_it_does_on_the_fuller_device() -> None:
    machine = Machine()
    machine.load(1, (0, 1), 20 * GIB, 20 * GIB)
    before = machine.devices.now(1)
    for gauge, left in zip(machine.gauges, (1, 2), strict=True):
        gauge.taken[1] = left * GIB
    assert await machine.devices.asleep(1, before) == 2 * GIB


class PoolOnTwo:
    """A pool on fakes. No gauge shows what its engines take."""

    def __init__(self) -> None:
        self.downloader, self.launcher = FakeDownloader(), FakeLauncher(FakeGauge())
        self.callers: list[asyncio.Task[None]] = []
        self.pool = EnginePool(
            Scheduler(Limits(BUDGET, patience=0.0, devices=2)),
            downloader=self.downloader,
            launcher=self.launcher,
            gauges=(FakeGauge(), FakeGauge()),
            clock=FakeClock(),
            validate=True,
        )

    async def want(self, name: str, plan: MemoryPlan | None = None) -> None:
        self.callers.append(asyncio.ensure_future(self._ask(name)))
        await settle()
        self.downloader.finish(name, plan)
        await settle()

    async def _ask(self, name: str) -> None:
        with self.pool.lease(spec(name), None, deadline=1e6) as lease:
            await lease.granted()

    @property
    def placed(self) -> dict[str, tuple[int, ...]]:
        return {repo: allotment.devices for repo, allotment in self.launcher.starts}


async def test_models_load_on_two_devices_at_once_and_one_of_both_comes_after_them() -> None:
    stage = PoolOnTwo()
    await stage.want("a")
    await stage.want("b")
    assert stage.placed == {"org/a": (0,), "org/b": (1,)}
    stage.launcher.ready("a")
    stage.launcher.ready("b")
    await settle()
    await stage.want("pair", PAIR)
    assert stage.placed["org/pair"] == (0, 1)
    stage.launcher.ready("pair")
    await settle()
    await asyncio.wait(stage.callers)
    await stage.pool.shut_down(0.0)
    assert not stage.launcher.alive
