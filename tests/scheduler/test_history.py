from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import EngineKey
from router.scheduler.history import REMEMBERED, Durations, History, Stage
from tests.pool.fakes import GIB, spec


def key(number: int = 0) -> EngineKey:
    return spec(str(number)).key


def durations(*seen: tuple[int, float, float]) -> Durations:
    """`seen`: the number of a model, its size, and seconds."""
    made = Durations()
    for number, size, seconds in seen:
        made.add(key(number), size, seconds)
    return made


def test_a_model_is_expected_to_take_what_it_took_last() -> None:
    seen = durations((1, 10.0, 40.0), (2, 20.0, 60.0), (1, 10.0, 30.0))
    assert seen.of(key(1), 10.0) == 30.0


def test_nothing_is_expected_where_nothing_was_seen() -> None:
    assert durations().of(key(1), 10.0) is None


def test_a_new_model_is_expected_to_take_what_its_size_takes() -> None:
    seen = durations((1, 10.0, 40.0), (2, 20.0, 60.0))
    assert seen.of(key(3), 30.0) == pytest.approx(80.0)
    assert seen.of(key(3), 15.0) == pytest.approx(50.0)


def test_a_new_model_takes_the_mean_where_all_had_one_size_or_larger_ones_were_faster() -> None:
    assert durations((1, 10.0, 40.0), (2, 10.0, 60.0)).of(key(3), 99.0) == pytest.approx(50.0)
    assert durations((1, 10.0, 60.0), (2, 20.0, 40.0)).of(key(3), 99.0) == pytest.approx(50.0)


def test_no_model_is_expected_in_less_than_a_quarter_of_the_mean() -> None:
    seen = durations((1, 90.0, 10.0), (2, 100.0, 110.0))
    assert seen.of(key(3), 1.0) == pytest.approx(15.0)


def test_what_was_seen_longest_ago_is_forgotten_and_counts_no_more() -> None:
    seen = durations((0, 1e9, 1e6), *((n, 10.0, 5.0) for n in range(1, REMEMBERED + 1)))
    assert len(seen) == REMEMBERED
    assert seen.of(key(0), 10.0) == pytest.approx(5.0, rel=1e-3)


stages = st.tuples(st.integers(0, 5), st.integers(0, 10**12), st.floats(0, 1e5))


@given(st.lists(stages, min_size=1, max_size=40), st.integers(0, 10**12))
def test_an_expectation_is_never_negative_nor_far_from_all_that_was_seen(
    seen: list[tuple[int, int, float]], size: int
) -> None:
    made = durations(*seen)
    assert len(made) == len({number for number, _, _ in seen})
    latest = {number: seconds for number, _, seconds in seen}
    for number, seconds in latest.items():
        assert made.of(key(number), size) == seconds
    new = made.of(key(99), size)
    assert new is not None
    mean = sum(latest.values()) / len(latest)
    assert new >= mean / 4 - 1e-6 * max(1.0, mean)


@given(st.integers(0, 10**12))
def test_a_prestart_and_what_is_left_of_it_make_a_whole_start_where_none_was_seen(
    size: int,
) -> None:
    parts = [Stage.PRESTART, Stage.FROM_GATE]
    halves = sum(History().expected(part, key(), size) for part in parts)
    assert halves == pytest.approx(History().expected(Stage.START, key(), size))


def test_a_seen_start_tells_what_a_prestart_takes_until_one_was_seen() -> None:
    history = History()
    history.took(Stage.START, key(), GIB, 100.0)
    guess = history.expected(Stage.FROM_GATE, key(), GIB)
    assert 0 < guess < 100.0
    history.took(Stage.FROM_GATE, key(), GIB, 7.0)
    assert history.expected(Stage.FROM_GATE, key(), GIB) == 7.0


def test_the_memory_of_an_engine_is_what_it_took_last() -> None:
    history = History()
    assert history.memory(key()) is None
    history.measured(key(), 3 * GIB)
    history.measured(key(), 2 * GIB)
    assert history.memory(key()) == 2 * GIB
    for number in range(1, REMEMBERED + 1):
        history.measured(key(number), GIB)
    assert history.memory(key()) is None
