from __future__ import annotations

from router.pool.footprints import SLACK, Footprints
from router.scheduler.actions import Allotment
from tests.pool.fakes import GIB, FakeGauge

CONTEXT = GIB // 2


class Device:
    """A gauge, and what stands on it; the footprints are told as the executor would."""

    def __init__(self) -> None:
        self.gauge = FakeGauge()
        self.footprints = Footprints(self.gauge)

    def prestart(self, generation: int, context: int = CONTEXT) -> None:
        self.footprints.prestarted(generation, self.gauge.free())
        self.gauge.taken[generation] = context

    def stand(self, generation: int) -> None:
        self.footprints.stands(generation, self.gauge.free())

    def load(self, generation: int, claim: int = 20 * GIB) -> None:
        allotment = Allotment(claim, self.gauge.free(), whole=False)
        self.footprints.loads(generation, allotment)

    def ready(self, generation: int, size: int) -> None:
        self.gauge.taken[generation] = size
        self.footprints.started(generation, self.gauge.free())

    async def unexplained(self) -> int:
        """Bytes by which what is free exceeds what the footprints leave, and their slack."""
        self.gauge.outsiders = 50 * GIB
        missing = await self.footprints.missing()
        self.gauge.outsiders = 0
        return 50 * GIB - missing

    def measured(self) -> None:
        """One process has come to a gate while nothing else changed, and ended."""
        self.prestart(99)
        self.stand(99)
        self.end(99)

    def end(self, generation: int) -> None:
        del self.gauge.taken[generation]
        self.footprints.ended(generation)


async def test_an_engine_has_taken_what_is_no_longer_free() -> None:
    device = Device()
    device.load(1)
    device.ready(1, 15 * GIB)
    assert await device.unexplained() == 2 * SLACK


async def test_an_engine_that_waited_has_also_what_it_held_at_its_gate() -> None:
    device = Device()
    device.prestart(1)
    device.stand(1)
    device.load(1)
    device.ready(1, 15 * GIB)
    assert await device.unexplained() == 2 * SLACK


async def test_what_comes_to_its_gate_meanwhile_is_no_part_of_an_engine() -> None:
    device = Device()
    device.measured()
    device.load(1)
    device.prestart(2)
    device.stand(2)
    device.ready(1, 15 * GIB)
    assert await device.unexplained() == 3 * SLACK


async def test_what_stood_at_its_gate_before_is_no_part_of_an_engine_either() -> None:
    device = Device()
    device.prestart(2)
    device.stand(2)
    device.load(1)
    device.ready(1, 15 * GIB)
    assert await device.unexplained() == 3 * SLACK


async def test_what_could_not_be_measured_alone_counts_as_nothing() -> None:
    device = Device()
    for generation in (1, 2):
        device.prestart(generation)
    for generation in (1, 2):
        device.stand(generation)
    assert await device.unexplained() == 3 * SLACK - 2 * CONTEXT


async def test_what_another_engine_loads_meanwhile_is_no_context() -> None:
    device = Device()
    device.load(1)
    device.prestart(2)
    device.ready(1, 15 * GIB)
    device.stand(2)
    device.end(1)
    assert await device.unexplained() == 2 * SLACK - CONTEXT


async def test_what_others_take_meanwhile_counts_as_context_up_to_the_slack() -> None:
    device = Device()
    device.prestart(1, context=30 * GIB)
    device.stand(1)
    device.end(1)
    device.prestart(2)
    device.prestart(3)
    device.stand(2)
    assert await device.unexplained() == 4 * SLACK - 2 * CONTEXT


async def test_an_engine_that_woke_disturbs_no_measurement_that_begins_then() -> None:
    device = Device()
    device.load(1)
    device.ready(1, 15 * GIB)
    before = device.footprints.now()
    device.gauge.taken[1] = GIB
    await device.footprints.asleep(1, before)
    device.footprints.waking(1)
    device.prestart(2)
    device.gauge.taken[1] = 15 * GIB
    device.footprints.woke(1)
    device.stand(2)
    assert await device.unexplained() == 3 * SLACK - CONTEXT
