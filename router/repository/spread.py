"""Spreads an engine over GPUs: as its flags say or, if one GPU is too small, as the router
chooses.

SGLang 0.5.23 gives each process one GPU, from `--base-gpu-id` on
(managers/data_parallel_controller.py). It splits heads and matrices evenly: the start fails if
a size is not divisible (layers/linear.py, `divide`; layers/attention/vision.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.models import MemoryPlan
from router.repository import architectures as sglang
from router.repository.conditions import Conditions, gpus
from router.repository.engine_options import EngineOptions
from router.repository.flag_values import is_set, number_of, value_of
from router.repository.memory_plan import Files, plan_of, smallest
from router.repository.model_shape import Shape, whole
from router.repository.quantization import MODELOPT, stated_quantization

Json = Mapping[str, Any]

_CHOICES = (2, 4, 8)  # `--tp-size`; a single machine has at most eight GPUs
_MOST = 9999

# Flags by which the operator decides how an engine is spread.
_PARALLEL = (
    *("--tp-size", "--tensor-parallel-size", "--pp-size", "--pipeline-parallel-size"),
    *("--dp-size", "--data-parallel-size", "--attn-dp-size", "--attention-data-parallel-size"),
    *("--enable-dp-attention", "--ep-size", "--expert-parallel-size", "--nnodes"),
    *("--dwdp-size", "--gpu-id-step"),
)
_EVEN = (  # each GPU gets an equal integer share of these
    *("intermediate_size", "ffn_hidden_size", "moe_intermediate_size"),
    *("shared_expert_intermediate_size", "linear_num_key_heads", "linear_num_value_heads"),
    *("mamba_num_heads", "mamba_n_heads", "n_groups"),
)
_IN_BLOCKS = _EVEN[:4]  # matrices; a quantization may have scales for blocks of these
_VISION = ("vision_config", "vit_config", "visual")
_VISION_EVEN = ("num_heads", "num_attention_heads", "intermediate_size")


def spanned(flags: Sequence[str]) -> int:
    """The number of this machine's GPUs that an engine with these flags needs."""
    count = gpus(flags)
    if not is_set(flags, "--enable-dp-attention"):
        count *= number_of(flags, "--dp-size", "--data-parallel-size", most=_MOST) or 1
    return -(-count // (number_of(flags, "--nnodes", most=_MOST) or 1))


def first_gpu(flags: Sequence[str]) -> int | None:
    """The operator's choice of the first GPU, among the visible ones; None: not set."""
    text = value_of(flags, "--base-gpu-id") or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None


def spread_plan(files: Files, on: Conditions) -> tuple[MemoryPlan, Conditions]:
    """The plan of an engine, and the conditions that it is made for.

    If one GPU is too small and the operator has not said how to spread the engine, this chooses
    tensor parallelism. If nothing fits, it returns the widest choice, whose numbers show how
    much is missing.
    """
    plan, made_for = _spanning(plan_of(files, on), on), on
    if _fits(plan, on):
        return plan, made_for
    for count in _splits(files, on):
        made_for = replace(on, flags=(*on.flags, f"--tp-size={count}"))
        plan = replace(_spanning(plan_of(files, made_for), made_for), tensor=count)
        if _fits(plan, on):
            break
    return plan, made_for


def widest(on: Conditions) -> int:
    """The maximum number of GPUs that may share a model's weights."""
    return max((gpus(on.flags), *_counts(on)))


def _spanning(plan: MemoryPlan, on: Conditions) -> MemoryPlan:
    if on.cpu:
        return plan
    return replace(plan, devices=spanned(on.flags), base=first_gpu(on.flags))


def _fits(plan: MemoryPlan, on: Conditions) -> bool:
    limit = on.memory if on.budget is None else on.budget
    return limit is None or smallest(plan) <= limit or EngineOptions(on).offloads_more


def _counts(on: Conditions) -> list[int]:
    """The choices of the router; none if the operator has decided."""
    if on.cpu or on.claim is not None or on.sets(*_PARALLEL):
        return []
    left = on.devices - (first_gpu(on.flags) or 0)
    return [count for count in _CHOICES if count <= left]


def _splits(files: Files, on: Conditions) -> Iterator[int]:
    shape = Shape(files.config)
    own = sglang.identify(shape.names, files.config) is not None
    if own or not on.plain:  # transformers' own code can't split every model
        yield from (count for count in _counts(on) if divides(shape, _block(files), count))


def divides(shape: Shape, block: int, count: int) -> bool:
    """Whether SGLang can split a model between this many GPUs. `block`: how many numbers share
    a scale."""
    heads, kv_heads = shape.heads, shape.kv_heads
    if not heads or heads % count or (kv_heads % count and count % kv_heads):
        return False
    even = [shape.number(name) for name in _EVEN]
    blocks = [shape.number(name) for name in _IN_BLOCKS]
    return (
        not any(size % count for size in (*even, *_of_vision(shape)))
        and not any(size // count % block for size in blocks)
        and heads * shape.head // count % block == 0
    )


def _of_vision(shape: Shape) -> Iterator[int]:
    for name in _VISION:
        if isinstance(part := shape.config.get(name), dict):
            yield from (whole(part.get(key)) for key in _VISION_EVEN)


def _block(files: Files) -> int:
    """The maximum number of values that share a scale; 1: none do, or it is unknown."""
    stated = stated_quantization(files.config) or files.quantization.get(MODELOPT)
    if not isinstance(stated, dict):
        return 1
    groups = stated.get("config_groups")
    parts = [stated, *(groups.values() if isinstance(groups, dict) else ())]
    sizes = [size for part in parts if isinstance(part, dict) for size in _sizes(part)]
    return max(1, *sizes) if sizes else 1


def _sizes(part: Json) -> Iterator[int]:
    yield whole(part.get("group_size"), 1 << 16)
    listed = part.get("weight_block_size")
    yield from (whole(each, 1 << 16) for each in (listed if isinstance(listed, list) else ()))
    weights = part.get("weights")
    if isinstance(weights, dict):
        yield whole(weights.get("group_size"), 1 << 16)
