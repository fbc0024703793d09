from __future__ import annotations

import pytest

from router.pool.footprints import SLACK, Footprints
from router.scheduler.actions import Allotment
from tests.pool.fakes import GIB, FakeGauge

CONTEXT = GIB // 2


class Device:
    """A gauge with engines on it. The test updates the footprints like the executor."""

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

    def ready(self, generation: int, size: int) -> int | None:
        self.gauge.taken[generation] = size
        return self.footprints.started(generation, self.gauge.free())

    async def unexplained(self) -> int:
        """The measured free bytes minus those that the footprints leave, and the footprints'
        slack."""
        self.gauge.outsiders = 50 * GIB
        missing = await self.footprints.missing()
        self.gauge.outsiders = 0
        return 50 * GIB - missing

    def measured(self) -> None:
        """Let one process reach a gate and end, while nothing else changes."""
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


def test_what_an_engine_took_is_told_where_nothing_else_has_changed() -> None:
    device = Device()
    device.load(1, claim=10 * GIB)
    assert device.ready(1, 15 * GIB) == 15 * GIB  # more than its claim
    device.load(2)
    assert device.ready(2, 5 * GIB) == 5 * GIB


def test_what_an_engine_took_from_its_gate_on_counts_with_its_context_where_that_is_known() -> (
    None
):
    device = Device()
    device.prestart(1)
    device.stand(1)
    device.load(1)
    assert device.ready(1, 15 * GIB) == 15 * GIB
    unknown = Device()
    for generation in (1, 2):  # neither was alone
        unknown.prestart(generation)
    for generation in (1, 2):
        unknown.stand(generation)
    unknown.load(1)
    assert unknown.ready(1, 15 * GIB) is None


@pytest.mark.parametrize(
    "change", ["another is prestarted", "comes to its gate", "ends", "wakes", "woke"]
)
async def test_what_an_engine_took_is_not_told_where_anything_else_has_changed(
    change: str,
) -> None:
    device = Device()
    device.load(7)
    device.ready(7, GIB)
    before = device.footprints.now()
    device.gauge.taken[7] = 0
    await device.footprints.asleep(7, before)
    if change == "comes to its gate":
        device.prestart(8)
    if change == "woke":
        device.footprints.waking(7)
    device.load(1)
    match change:
        case "another is prestarted":
            device.prestart(8)
        case "comes to its gate":
            device.stand(8)
        case "ends":
            device.end(7)
        case "wakes":
            device.footprints.waking(7)
        case "woke":
            device.footprints.woke(7)
    assert device.ready(1, 15 * GIB) is None


def test_on_a_host_that_other_programs_use_nothing_is_told() -> None:
    device = Device()
    device.gauge.engines_only = False
    device.load(1)
    assert device.ready(1, 15 * GIB) is None


def test_memory_that_came_free_by_itself_is_not_taken() -> None:
    device = Device()
    device.gauge.outsiders = 50 * GIB
    device.load(1)
    device.gauge.outsiders = 0
    assert device.ready(1, 15 * GIB) is None
