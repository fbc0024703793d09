from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import MemoryPlan
from router.scheduler.memory import (
    LATE,
    MARGIN,
    SLACK,
    SMALLEST,
    USUAL,
    Claim,
    Shrink,
    claim,
    slack,
    total,
)
from tests.pool.fakes import GIB, spec

PLAN = MemoryPlan(weights=16 * GIB, token=1 << 17, overhead=2 * GIB, context=1 << 17)


def made(
    plan: MemoryPlan | None = PLAN,
    *,
    declared: int | None = None,
    measured: int | None = None,
    shrink: Shrink = Shrink.NONE,
    device: int = 80 * GIB,
) -> Claim:
    return claim(
        spec(memory=declared), plan, measured, shrink, device=device, share=device // 2
    )


def test_what_the_operator_declares_counts_and_the_cache_is_what_that_leaves() -> None:
    assert made(declared=20 * GIB) == Claim(20 * GIB, tokens=2 * GIB // (1 << 17))
    assert made(None, declared=20 * GIB) == Claim(20 * GIB)


def test_an_engine_without_a_plan_gets_an_equal_share() -> None:
    assert made(None) == Claim(40 * GIB)


def test_a_planned_engine_gets_weights_overhead_and_a_usual_cache_with_a_margin() -> None:
    margin = int((2 + 4) * GIB * MARGIN)  # the bytes of the weights are known
    assert made() == Claim((16 + 2 + 4) * GIB + margin, USUAL)


def test_a_model_with_a_short_context_gets_a_cache_for_one_request() -> None:
    assert made(replace(PLAN, context=512)).tokens == 512


def test_once_measured_an_engine_gets_what_it_took_and_room_to_grow() -> None:
    assert made(measured=21 * GIB) == Claim(21 * GIB + slack(PLAN), USUAL)
    assert slack(PLAN) == int(2 * GIB * LATE)
    assert slack(replace(PLAN, overhead=0)) == SLACK


def test_a_measurement_with_the_usual_cache_says_nothing_of_a_smaller_one() -> None:
    smaller = made(measured=21 * GIB, shrink=Shrink.HALF_THE_CACHE)
    assert smaller == made(shrink=Shrink.HALF_THE_CACHE)


def test_after_running_out_of_memory_half_of_the_cache_and_then_the_whole_device() -> None:
    assert made(shrink=Shrink.HALF_THE_CACHE).tokens == USUAL // 2
    assert made(shrink=Shrink.WHOLE_DEVICE) == Claim(80 * GIB, USUAL // 2)


def test_on_a_small_device_the_cache_shrinks_and_then_the_engine_is_too_large() -> None:
    assert made(device=20 * GIB) == Claim(20 * GIB, tokens=2 * GIB // (1 << 17))
    assert made(device=18 * GIB).tokens == SMALLEST
    assert made(device=18 * GIB).memory > 18 * GIB


def test_the_margin_does_not_make_a_model_too_large_that_fits_without_it() -> None:
    assert made(device=23 * GIB).memory == 23 * GIB


def test_a_model_with_a_state_for_each_request_is_planned_with_some_of_them() -> None:
    """Otherwise, a model like Mamba, whose tokens take nothing, would have no room for any."""
    state = 1 << 27
    mamba = replace(PLAN, token=0, sequence=state)
    assert total(mamba, USUAL) == 18 * GIB + USUAL // SMALLEST * state
    assert made(mamba, device=19 * GIB).tokens == (1 * GIB // state) * SMALLEST


def test_a_cache_that_takes_nothing_is_the_usual_one() -> None:
    assert made(replace(PLAN, token=0)).tokens == USUAL


plans = st.builds(
    MemoryPlan,
    weights=st.integers(0, 100 * GIB),
    token=st.integers(0, 1 << 22),
    overhead=st.integers(0, 4 * GIB),
    context=st.integers(1, 1 << 20),
    sequence=st.integers(0, GIB),
)


@given(plans, st.integers(1 * GIB, 200 * GIB), st.sampled_from([*Shrink]))
def test_a_claim_has_room_for_its_cache_unless_the_device_is_too_small(
    plan: MemoryPlan, device: int, shrink: Shrink
) -> None:
    got = made(plan, device=device, shrink=shrink)
    assert got.tokens is not None
    assert min(plan.context, SMALLEST) <= got.tokens <= USUAL
    if total(plan, min(plan.context, SMALLEST)) <= device:
        assert total(plan, got.tokens) <= got.memory <= device


@given(plans, st.integers(1 * GIB, 200 * GIB))
def test_a_smaller_engine_asks_for_no_more_cache(plan: MemoryPlan, device: int) -> None:
    usual, half = (made(plan, device=device, shrink=one) for one in list(Shrink)[:2])
    assert half.tokens is not None
    assert usual.tokens is not None
    assert half.tokens <= usual.tokens
    assert half.memory <= usual.memory


@pytest.mark.parametrize("shrink", Shrink)
def test_a_declared_size_gives_way_only_to_the_whole_device(shrink: Shrink) -> None:
    whole = shrink is Shrink.WHOLE_DEVICE
    got = made(declared=20 * GIB, shrink=shrink).memory
    assert got == (80 * GIB if whole else 20 * GIB)
