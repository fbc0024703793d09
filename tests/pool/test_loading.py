"""What a request waited for, according to its lease."""

from __future__ import annotations

from pathlib import Path

from router.models import EngineKey
from router.pool.loading import AT_ONCE, LoadStep, LoadTimes, Temperature, Waited
from router.scheduler import actions, events
from tests.pool.fakes import spec
from tests.pool.harness import PoolHarness

KEY: EngineKey = spec("a").key
ALLOTMENT = actions.Allotment(1, 1, whole=False)
START = actions.Start(spec("a"), 1, Path(), ALLOTMENT)
TICK = events.Tick()


def test_a_request_that_waits_for_room_first_has_waited_for_both() -> None:
    loads = LoadTimes()
    loads.note(10.0, TICK, [START])
    loads.note(14.0, events.Healthy(KEY, 1), [])
    assert loads.waited(KEY, 3.0, 14.0) == Waited(7.0, 4.0, Temperature.COLD)


def test_a_request_that_comes_during_the_start_has_waited_for_the_rest_of_it() -> None:
    loads = LoadTimes()
    loads.note(10.0, TICK, [START])
    loads.note(14.0, events.Healthy(KEY, 1), [])
    assert loads.waited(KEY, 13.0, 14.0) == Waited(0.0, 1.0, Temperature.COLD)


def test_a_download_and_the_start_after_it_count_as_loading() -> None:
    loads = LoadTimes()
    loads.note(0.0, TICK, [actions.Fetch(spec("a"), 1, 1, None)])
    loads.note(5.0, events.Fetched(KEY, 1, Path()), [])
    loads.note(6.0, TICK, [START])
    loads.note(8.0, events.Healthy(KEY, 1), [])
    waited = loads.waited(KEY, 1.0, 8.0)
    assert waited == Waited(1.0, 6.0, Temperature.COLD)
    assert waited.steps == (LoadStep("fetch", 7.0, 3.0), LoadStep("start", 2.0, 0.0))


def test_a_sleeper_that_wakes_is_no_cold_start() -> None:
    loads = LoadTimes()
    loads.note(1.0, TICK, [actions.Wake(KEY, 1)])
    loads.note(3.0, events.Awake(KEY, 1), [])
    assert loads.waited(KEY, 0.0, 3.0) == Waited(1.0, 2.0, Temperature.WAKE)


def test_a_place_in_flight_is_no_loading() -> None:
    loads = LoadTimes()
    loads.note(1.0, TICK, [START])
    loads.note(2.0, events.Healthy(KEY, 1), [])
    assert loads.waited(KEY, 5.0, 9.0) == Waited(4.0, 0.0, Temperature.HIT)


def test_a_start_that_was_stopped_has_ended() -> None:
    loads = LoadTimes()
    loads.note(1.0, TICK, [START])
    loads.note(2.0, TICK, [actions.Stop(KEY, 1, "abandoned", at_once=False)])
    assert loads.waited(KEY, 0.0, 5.0).load == 1.0


def test_what_is_remembered_is_bounded() -> None:
    loads = LoadTimes()
    for number in range(5000):
        loads.note(float(number), TICK, [actions.Wake(spec(f"m{number % 2000}").key, number)])
    assert len(loads._steps) == 1024


async def test_a_lease_tells_it() -> None:
    pool = PoolHarness().instant()
    for expected in (Temperature.COLD, Temperature.HIT):
        with pool.pool.lease(spec("a"), None, deadline=1e9) as lease:
            assert await lease.granted()
            assert lease.waited.temperature == expected
    assert lease.waited is AT_ONCE
    await pool.pool.shut_down(0.0)
