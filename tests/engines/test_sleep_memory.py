from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.sleep_memory import GIB, SleepMemory, budget, reserve, sleep_memory
from tests.pool.fakes import FakeGauge

sizes = st.integers(0, 4096 * GIB)


@given(total=sizes, free=sizes, asked=st.none() | sizes)
def test_sleepers_never_get_the_reserve(total: int, free: int, asked: int | None) -> None:
    size = budget(total, free, asked)
    assert 0 <= size <= max(0, total - reserve(total))
    assert asked is None or size <= asked


@given(total=sizes, free=sizes)
def test_by_default_sleepers_get_nothing_that_others_use(total: int, free: int) -> None:
    assert budget(total, free) <= max(0, free - reserve(total))


def test_a_quarter_is_kept_but_no_less_than_8_gib() -> None:
    assert budget(256 * GIB, 250 * GIB) == 186 * GIB
    assert budget(24 * GIB, 24 * GIB) == 16 * GIB
    assert budget(8 * GIB, 8 * GIB) == 0


def decided(asked: int | None = None, **changes: Any) -> SleepMemory:
    options: dict[str, Any] = {"on_gpu": True, "has_saver": True, "environ": {}}
    return sleep_memory(asked, FakeGauge(100 * GIB), **options | changes)


def test_the_log_says_how_much_sleepers_may_hold() -> None:
    assert decided() == SleepMemory(
        75 * GIB, "engines may sleep in 75.0 GiB of the host's memory"
    )
    assert decided(20 * GIB).size == 20 * GIB


def test_the_log_says_that_less_is_there_than_was_asked_for() -> None:
    assert decided(90 * GIB) == SleepMemory(
        75 * GIB, "engines may sleep in 75.0 GiB of the host's memory, not 90.0 GiB"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"asked": 0}, "SLEEP_MEMORY is 0"),
        ({"on_gpu": False}, "there is no GPU"),
        ({"has_saver": False}, "ENGINE_PYTHON has no torch_memory_saver"),
        (
            {"environ": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}},
            "PYTORCH_CUDA_ALLOC_CONF has expandable_segments",
        ),
        (
            {"environ": {"PYTORCH_ALLOC_CONF": "backend:native, expandable_segments: True"}},
            "PYTORCH_ALLOC_CONF has expandable_segments",
        ),
    ],
)
def test_the_log_says_why_no_engine_sleeps(changes: dict[str, Any], why: str) -> None:
    assert decided(**changes) == SleepMemory(0, f"no engine sleeps: {why}")


def test_a_small_container_has_no_sleepers() -> None:
    found = sleep_memory(None, FakeGauge(8 * GIB), on_gpu=True, has_saver=True, environ={})
    assert found == SleepMemory(
        0, "no engine sleeps: 8.0 GiB of 8.0 GiB host memory are too little"
    )
