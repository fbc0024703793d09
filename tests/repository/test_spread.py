from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.models import MemoryPlan
from router.repository.conditions import Conditions
from router.repository.memory_plan import Files, smallest
from router.repository.model_shape import Shape
from router.repository.spread import divides, first_gpu, spanned, spread_plan, widest
from tests.repository.model_families import LLAMA, LLAMA_8B
from tests.repository.test_memory_plan import CONFIGS, FLAGS, JSON

GIB = 1 << 30
BF16 = 2
TWICE = Conditions(memory=12 * GIB, devices=2)  # an 8B model takes 15 GiB of weights


def spread(on: Conditions, **config: Any) -> tuple[MemoryPlan, Conditions]:
    return spread_plan(Files(LLAMA | config, LLAMA_8B * BF16), on)


def chosen(on: Conditions, **config: Any) -> int | None:
    return spread(on, **config)[0].tensor


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), 1),
        (("--tp-size=2", "--pp-size=2"), 4),
        (("--dp-size=2", "--tp-size=2"), 4),
        (("--dp-size=2", "--tp-size=2", "--enable-dp-attention"), 2),
        (("--nnodes=2", "--tp-size=8"), 4),
    ],
)
def test_an_engine_needs_the_gpus_that_its_flags_say(
    flags: tuple[str, ...], expected: int
) -> None:
    assert spanned(flags) == expected
    found, _ = spread(Conditions(flags=flags))
    assert (found.devices, found.tensor) == (expected, None)


def test_the_operators_first_gpu_counts() -> None:
    assert first_gpu(("--base-gpu-id=2",)) == first_gpu(("--base-gpu", "2")) == 2
    assert first_gpu(("--base-gpu-id=0",)) == 0
    assert first_gpu(()) is first_gpu(("--base-gpu-id=two",)) is None
    assert spread(Conditions(flags=("--base-gpu-id=2",)))[0].base == 2


def test_a_model_that_one_gpu_holds_is_not_spread() -> None:
    assert chosen(Conditions(memory=80 * GIB, devices=8)) is None


def test_a_model_that_is_too_large_for_one_gpu_gets_as_many_as_it_needs() -> None:
    found, made_for = spread(TWICE)
    assert (found.devices, found.tensor) == (2, 2)
    assert "--tp-size=2" in made_for.flags
    assert smallest(found) <= 12 * GIB
    assert chosen(Conditions(memory=8 * GIB, devices=8)) == 4


def test_what_engines_may_use_of_a_gpu_decides() -> None:
    assert chosen(Conditions(memory=80 * GIB, devices=2, budget=12 * GIB)) == 2


def test_a_model_that_fits_nowhere_is_told_with_the_numbers_of_the_widest_spread() -> None:
    found, made_for = spread(Conditions(memory=GIB, devices=4))
    assert (found.devices, widest(made_for)) == (4, 4)
    assert smallest(found) > GIB


@pytest.mark.parametrize(
    "flag", ["--tp-size=1", "--tp=1", "--pp-size=1", "--dp-size=1", "--nnodes=1", "--ep-size=1"]
)
def test_an_operator_that_says_how_to_spread_a_model_is_followed(flag: str) -> None:
    assert chosen(Conditions(memory=12 * GIB, devices=2, flags=(flag,))) is None


def test_a_declared_size_and_a_cpu_mean_one_device() -> None:
    assert chosen(Conditions(memory=12 * GIB, devices=2, claim=12 * GIB)) is None
    on_cpu = Conditions(memory=12 * GIB, devices=2, cpu=True, flags=("--tp-size=2",))
    assert spread(on_cpu)[0].devices == 1


def test_a_model_is_spread_over_the_gpus_from_the_operators_first_on() -> None:
    last = Conditions(memory=12 * GIB, devices=2, flags=("--base-gpu-id=1",))
    assert chosen(last) is None


def test_an_architecture_that_only_transformers_runs_is_not_spread() -> None:
    assert chosen(TWICE, architectures=["SmolLM3ForCausalLM"]) is None


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({}, 8),
        ({"num_attention_heads": 20, "num_key_value_heads": 20}, 4),
        ({"num_attention_heads": 15, "num_key_value_heads": 15}, 1),
        ({"num_key_value_heads": 2}, 8),  # each head on several GPUs
        ({"num_attention_heads": 24, "num_key_value_heads": 3}, 1),
        ({"intermediate_size": 14338}, 2),
        ({"moe_intermediate_size": 772}, 4),
        ({"vision_config": {"num_heads": 25}}, 1),
        ({"vision_config": {"num_attention_heads": 12}}, 4),
        ({"vision_config": {"num_heads": 16, "intermediate_size": 3420}}, 4),
    ],
)
def test_only_what_divides_is_split(config: dict[str, Any], count: int) -> None:
    shape = Shape(LLAMA | config)
    assert max(one for one in (1, 2, 4, 8) if divides(shape, 1, one)) == count


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"quant_method": "awq", "group_size": 128, "bits": 4},
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"a": {"weights": {"group_size": 128}}},
        },
    ],
)
def test_blocks_that_share_a_scale_are_not_split(stated: dict[str, Any]) -> None:
    stored = 40 * GIB
    on = Conditions(memory=32 * GIB, devices=8)
    config = LLAMA | {"quantization_config": stated}
    assert spread_plan(Files(config, stored), on)[0].tensor == 2
    odd = config | {"intermediate_size": 128 * 111}
    assert spread_plan(Files(odd, stored), on)[0].tensor is None
    unquantized = LLAMA | {"intermediate_size": 128 * 111}
    less = replace(on, memory=16 * GIB)  # half of these bytes are loaded
    assert spread_plan(Files(unquantized, stored), less)[0].tensor == 2


@given(CONFIGS, JSON, FLAGS, st.integers(1, 1 << 45), st.integers(1, 8))
def test_any_configuration_is_planned_for_devices_that_are_there(
    config: dict[str, Any], quantization: object, flags: list[str], stored: int, devices: int
) -> None:
    on = Conditions(flags=tuple(flags), memory=8 * GIB, devices=devices)
    files = Files(config | {"quantization_config": quantization}, stored)
    found, made_for = spread_plan(files, on)
    if found.tensor is None:
        assert (found.devices, made_for) == (spanned(flags), on)
    else:
        assert found.devices == found.tensor <= devices
