"""Estimates the memory of an engine on each GPU from its model's small files. See
docs/memory.md.

The formulas are SGLang 0.5.23's, as cited in the other modules of this package. No number here
was measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import ModelTooLarge
from router.models import MemoryPlan
from router.repository.cache_size import sequence_bytes, token_bytes
from router.repository.conditions import Conditions, gpus
from router.repository.engine_options import GIB, EngineOptions
from router.repository.model_shape import Shape
from router.repository.overhead import overhead_bytes
from router.repository.quantization import MODELOPT, stated_quantization
from router.repository.tensor_headers import Tensor
from router.repository.weight_size import weights_of

Json = Mapping[str, Any]

USEFUL_CACHE = 4096
"""Tokens of the smallest useful cache, unless the context is shorter."""

_MOST = 1 << 56  # bytes; an upper limit for any plan


@dataclass(frozen=True, slots=True)
class Files:
    """What is known about a model's files."""

    config: Json  # of config.json; empty if there is none
    weight_bytes: int  # of the weight files that are loaded
    quantization: Mapping[str, Json] = field(default_factory=dict)  # of files beside it
    tensors: tuple[Tensor, ...] | None = None  # None: unknown until they are on disk


def plan_of(files: Files, on: Conditions) -> MemoryPlan:
    """Never raises: for an uninformative configuration, the plan relies on the weights."""
    shape, options = Shape(files.config), EngineOptions(on)
    stated = stated_quantization(files.config) or files.quantization.get(MODELOPT)
    about = stated if isinstance(stated, dict) else {}
    quantized = stated is not None or bool(files.quantization)
    weights = weights_of(shape, options, files.weight_bytes, files.tensors, quantized=quantized)
    token = token_bytes(shape, options, about)
    overhead = overhead_bytes(shape, options)
    context = min(shape.context, options.context or shape.context)
    return MemoryPlan(
        weights=min(weights.loaded, _MOST),
        token=token,
        # Before the weights reach their final size, nothing else is in memory.
        overhead=min(max(overhead, weights.peak - weights.loaded), _MOST),
        context=context,
        sequence=sequence_bytes(shape, options),
    )


def most_stored(on: Conditions, devices: int) -> int | None:
    """Maximum bytes of files that an engine could hold, no matter what is in them; None: no
    limit.

    `devices`: how many devices may share the weights.
    """
    options = EngineOptions(on)
    if on.memory is None or options.offloads_more:
        return None
    # fp32 is loaded as 16 bits, or as 4.
    shrinks = 8 if options.quantization == "bitsandbytes" else 2
    return (on.memory + options.offloaded) * devices * shrinks


def smallest(plan: MemoryPlan) -> int:
    """Bytes of each GPU for an engine with the smallest useful cache."""
    return plan.weights + plan.overhead + cache_of(plan)


def cache_of(plan: MemoryPlan) -> int:
    """Bytes of the smallest useful cache, for one request."""
    return min(plan.context, USEFUL_CACHE) * plan.token + plan.sequence


def check_plan(plan: MemoryPlan, on: Conditions) -> None:
    """Raises `ModelTooLarge`, with the numbers."""
    if on.claim is not None and on.claim < plan.weights:
        raise ModelTooLarge(
            f"The operator's entry for this model grants it {_gib(on.claim)} of memory, and "
            f"its weights alone take {_gib(plan.weights)}{_each(on)}. Ask the operator to "
            "raise `memory`, or to leave it out."
        )
    if on.memory is None or smallest(plan) <= on.memory or EngineOptions(on).offloads_more:
        return
    raise ModelTooLarge(
        f"The model needs {_gib(smallest(plan))} of memory{_each(on)}: {_gib(plan.weights)} "
        f"for its weights, {_gib(cache_of(plan))} for a cache of "
        f"{min(plan.context, USEFUL_CACHE):,} tokens, and {_gib(plan.overhead)} to compute "
        f"with. This worker has {_gib(on.memory)}. Use a smaller model, or one with fewer bits "
        "a weight."
    )


def _each(on: Conditions) -> str:
    count = gpus(on.flags)
    return f" on each of {count:,} GPUs" if count > 1 else ""


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f} GiB"
