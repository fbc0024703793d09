from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.memory_flags import memory_flags
from router.scheduler.actions import Allotment

MIB, GIB = 1 << 20, 1 << 30
WHOLE = Allotment(claim=80 * GIB, free=80 * GIB, whole=True)


def test_sglang_sizes_an_engine_that_is_alone_on_its_gpu() -> None:
    assert memory_flags(WHOLE) == ()


def fraction(allotment: Allotment) -> float:
    return float(option(memory_flags(allotment), "--mem-fraction-static"))


def test_weights_and_cache_get_the_claim_less_a_reserve() -> None:
    shared = Allotment(claim=20 * GIB, free=60 * GIB, whole=False)
    assert fraction(shared) == pytest.approx((20 - 3.5) / 60, abs=0.001)


def test_a_small_claim_is_not_all_reserve() -> None:
    shared = Allotment(claim=4 * GIB, free=80 * GIB, whole=False)
    assert fraction(shared) == pytest.approx(3 / 80, abs=0.001)


def test_a_share_is_rounded_down() -> None:
    shared = Allotment(claim=20 * GIB, free=60 * GIB, whole=False)
    assert fraction(shared) * shared.free <= shared.claim


@pytest.mark.parametrize("whole", [True, False])
def test_after_running_out_of_memory_an_engine_gets_less(whole: bool) -> None:
    before = Allotment(claim=20 * GIB, free=40 * GIB, whole=False)
    again = Allotment(claim=20 * GIB, free=40 * GIB, whole=whole, smaller=True)
    assert fraction(again) == pytest.approx(0.85 * fraction(before), abs=0.002)


def option(flags: tuple[str, ...], name: str) -> str:
    return flags[flags.index(name) + 1]


@dataclass(frozen=True)
class Plan:
    """In bytes, except `tokens`. `rest`: neither weights nor cache."""

    weights: int
    tokens: int
    token: int
    rest: int
    more: int  # free memory beyond the claim when the flags are set
    later: int  # free memory beyond the claim when a waiting engine continues

    @property
    def cache(self) -> int:
        return self.tokens * self.token

    @property
    def claim(self) -> int:
        return self.weights + self.cache + self.rest

    @property
    def context(self) -> int:
        """The most that CUDA takes before SGLang measures."""
        return min(GIB // 2, self.claim // 8)

    def free(self, *, waits: bool) -> int:
        return self.claim + (self.later if waits else self.more)

    def flags(self, *, waits: bool) -> tuple[str, ...]:
        free = self.claim + self.more
        return memory_flags(
            Allotment(self.claim, free, whole=False, tokens=self.tokens), waits=waits
        )

    def sized(self, before: int, token: int, *, waits: bool) -> int:
        """Bytes of the KV cache, as SGLang sizes it (kv_cache_configurator.py)."""
        flags = self.flags(waits=waits)
        share = float(option(flags, "--mem-fraction-static"))
        fits = (before - self.weights) - before * (1 - share)
        return min(int(fits) // token, int(option(flags, "--max-total-tokens"))) * token


plans = st.builds(
    Plan,
    weights=st.integers(100 * MIB, 100 * GIB),
    tokens=st.integers(1, 200_000),
    token=st.integers(1_000, 1_000_000),
    rest=st.integers(100 * MIB, 20 * GIB),
    more=st.integers(0, 200 * GIB),
    later=st.integers(0, 200 * GIB),
)


@given(plans.filter(lambda plan: plan.rest >= 2 * plan.context), st.booleans())
def test_planned_tokens_fit_whatever_is_free_and_take_no_more_than_planned(
    plan: Plan, waits: bool
) -> None:
    for taken in (0, plan.context):
        before = plan.free(waits=waits) - taken
        assert plan.sized(before, plan.token, waits=waits) == plan.cache


@given(plans, st.floats(0.5, 2.0), st.booleans())
def test_a_token_that_takes_more_than_was_estimated_breaks_no_other_bound(
    plan: Plan, wrong: float, waits: bool
) -> None:
    free = plan.free(waits=waits)
    cache = plan.sized(free, int(plan.token * wrong), waits=waits)
    if waits:
        assert cache <= plan.cache * wrong
    else:
        assert plan.weights + cache <= plan.claim - plan.context + 1e-4 * free


def test_an_engine_with_planned_tokens_that_ran_out_of_memory_gets_fewer() -> None:
    planned = Allotment(claim=20 * GIB, free=40 * GIB, whole=False, tokens=1000)
    flags = memory_flags(replace(planned, smaller=True))
    assert option(flags, "--max-total-tokens") == "850"
