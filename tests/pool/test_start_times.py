from __future__ import annotations

from router.pool.start_times import StartTimes, Took
from tests.pool.fakes import FakeClock, spec

KEY, OTHER = spec("a").key, spec("b").key


def seen(clock: FakeClock, *took: Took) -> StartTimes:
    """Starts of other models were seen."""
    times = StartTimes(clock)
    for number, one in enumerate(took):
        times.remember(spec(f"b{number}").key, one)
    return times


def test_an_ordinary_start_takes_as_long_as_it_is_waited_for() -> None:
    clock = FakeClock()
    times = StartTimes(clock)
    times.begin(7)
    times.opened(7)
    clock.advance(20)
    took = times.end(7)
    assert took == Took(full=20.0, from_gate=None, waited_for=20.0)
    assert str(took) == "20.0 s"


def test_the_time_at_a_gate_is_no_part_of_a_start() -> None:
    clock = FakeClock()
    times = StartTimes(clock)
    times.begin(7)
    clock.advance(20)
    times.stood(7)
    clock.advance(1000)
    times.opened(7)
    clock.advance(4)
    took = times.end(7)
    assert took == Took(full=24.0, from_gate=4.0, waited_for=4.0)
    assert str(took) == "4.0 s (prestarted)"


def test_a_start_that_was_wanted_before_it_came_to_its_gate_is_waited_for_longer() -> None:
    clock = FakeClock()
    times = StartTimes(clock)
    times.begin(7)
    clock.advance(5)
    times.opened(7)
    clock.advance(15)
    times.stood(7)
    clock.advance(4)
    assert times.end(7) == Took(full=24.0, from_gate=4.0, waited_for=19.0)


def test_an_engine_that_can_not_wait_is_counted_from_when_it_might_start() -> None:
    clock = FakeClock()
    times = StartTimes(clock)
    times.begin(7)
    clock.advance(100)
    times.opened(7)
    clock.advance(20)
    assert times.end(7) == Took(full=20.0, from_gate=None, waited_for=20.0)


def test_a_start_is_estimated_by_the_models_last_start_or_else_by_all_others() -> None:
    clock = FakeClock()
    times = seen(clock, Took(10.0), Took(30.0))
    times.begin(7)
    times.opened(7)
    clock.advance(5)
    assert times.left(7, KEY) == 15.0
    times.remember(KEY, Took(8.0))
    assert times.left(7, KEY) == 3.0
    clock.advance(5)
    assert times.left(7, KEY) == 0.0


def test_the_rest_of_a_start_from_its_gate_is_estimated_by_such_starts() -> None:
    clock = FakeClock()
    times = seen(clock, Took(30.0, from_gate=6.0), Took(50.0))
    times.begin(7)
    times.opened(7)
    clock.advance(25)
    assert times.left(7, KEY) == 15.0  # of the mean of whole ones, 40
    times.stood(7)
    clock.advance(2)
    assert times.left(7, KEY) == 4.0
    assert (times.full(KEY), times.from_gate(KEY)) == (40.0, 6.0)


def test_without_an_observation_there_is_no_estimate() -> None:
    times = StartTimes(FakeClock())
    times.begin(7)
    assert times.left(7, KEY) is times.full(KEY) is times.from_gate(KEY) is None


def test_a_start_that_ended_is_forgotten() -> None:
    times = seen(FakeClock(), Took(20.0))
    times.begin(7)
    times.end(7)
    assert times.left(7, KEY) is None
    times.end(7)


def test_only_so_many_models_are_remembered() -> None:
    times = StartTimes(FakeClock())
    times.remember(KEY, Took(1000.0))
    for number in range(256):
        times.remember(spec(f"b{number}").key, Took(1.0))
    assert times.full(KEY) == 1.0
