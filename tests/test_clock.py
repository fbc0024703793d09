from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.clock import LATE, TICK, WorkerClock, watch


class Machine:
    """A machine whose clocks can be set separately."""

    def __init__(self) -> None:
        self.uptime, self.date = 100.0, 1e9
        self.clock = WorkerClock(lambda: self.uptime, lambda: self.date)

    def run(self, seconds: float) -> None:
        self.uptime += seconds
        self.date += seconds


def test_without_a_freeze_it_runs_like_the_machines_clock() -> None:
    machine = Machine()
    before = machine.clock()
    for _ in range(100):
        machine.run(TICK)
        assert machine.clock.look() == 0
    assert machine.clock() - before == pytest.approx(100 * TICK)


def test_a_short_delay_is_not_a_freeze() -> None:
    machine = Machine()
    before = machine.clock()
    machine.run(TICK + LATE)
    assert machine.clock.look() == 0
    assert machine.clock() - before == TICK + LATE


def test_a_freeze_during_which_uptime_went_on_does_not_count() -> None:
    machine = Machine()
    before = machine.clock()
    machine.run(3600)
    assert machine.clock() - before == TICK + LATE  # even before the first look
    assert machine.clock.look() == pytest.approx(3600 - TICK - LATE)
    assert machine.clock() - before == TICK + LATE
    machine.run(TICK)
    assert machine.clock() - before == 2 * TICK + LATE


def test_a_freeze_during_which_uptime_stood_still_is_seen_by_the_date() -> None:
    machine = Machine()
    before = machine.clock()
    machine.run(TICK)
    machine.date += 3600
    assert machine.clock.look() == pytest.approx(3600)
    assert machine.clock() - before == TICK


def test_a_small_correction_of_the_date_is_not_a_freeze() -> None:
    machine = Machine()
    machine.date -= 4
    assert machine.clock.look() == 0


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e5, 1e5), st.booleans())))
def test_it_never_runs_backwards(steps: list[tuple[float, float, bool]]) -> None:
    machine = Machine()
    last = machine.clock()
    for uptime, date, look in steps:
        machine.uptime += uptime
        machine.date += date
        if look:
            machine.clock.look()
        assert machine.clock() >= last - 1e-6
        last = machine.clock()


async def test_a_thaw_is_reported_once() -> None:
    machine, told = Machine(), list[int]()
    naps = iter([TICK, 3600, TICK, TICK])

    async def sleep(_: float) -> None:
        machine.run(next(naps))

    async def thawed() -> None:
        told.append(1)

    with pytest.raises(RuntimeError):  # the naps are over
        await watch(machine.clock, thawed, sleep)
    assert told == [1]
