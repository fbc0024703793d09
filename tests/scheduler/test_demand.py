from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scheduler.demand import Demand


def after(*times: float) -> Demand:
    made = Demand()
    for at in times:
        made.arrive(at)
    return made


def test_one_request_tells_nothing_of_the_next() -> None:
    assert Demand().interval(5.0) == inf
    assert after(1.0).interval(5.0) == inf


def test_two_requests_tell_when_the_third_is_to_come() -> None:
    assert after(10.0, 14.0).interval(14.0) == 4.0


def test_a_model_that_has_been_quiet_is_expected_to_stay_quiet_for_as_long() -> None:
    assert after(10.0, 14.0).interval(15.0) == 4.0
    assert after(10.0, 14.0).interval(114.0) == 100.0


def test_the_latest_gaps_count_most_and_no_single_one_decides() -> None:
    regular = after(*range(0, 101, 10))
    assert regular.gap == 10.0
    regular.arrive(200.0)
    assert 10.0 < regular.gap < 100.0
    before = regular.gap
    for at in range(201, 240):
        regular.arrive(float(at))
    assert regular.gap < before / 10


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_the_mean_gap_lies_between_the_least_and_the_greatest(times: list[float]) -> None:
    times.sort()
    gaps = [b - a for a, b in pairwise(times)]
    gap = after(*times).gap
    assert min(gaps) - 1e-6 <= gap <= max(gaps) + 1e-6
    assert after(*times).interval(times[-1]) == pytest.approx(gap)
