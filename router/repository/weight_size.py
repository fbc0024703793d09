"""Bytes of a model's weights on each GPU, once an engine has loaded them.

SGLang 0.5.23 converts fp32 to 16 bits (configs/model_config.py, `_get_and_verify_dtype`), skips
what only a draft model needs, and splits most matrices between GPUs. With `--quantization fp8`
it first loads all layers in 16 bits and then shrinks them (layers/quantization/fp8.py,
`create_fp8_weight_`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from router.repository.cache_size import heads_on_gpu, is_latent
from router.repository.engine_options import EngineOptions
from router.repository.model_shape import Shape
from router.repository.tensor_headers import Tensor

Json = Mapping[str, Any]

_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_HALVES = frozenset({"F16", "BF16"})
_FULL, _HALF = 4, 2  # bytes of a stored number
_LAYER = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d{1,6})\.")
_DRAFTS = ("mtp.", "model.mtp.", "model.mtp_")
# More bytes per weight than the first mean 32 bits; fewer than the second mean 16. In between,
# the configuration decides.
_SURELY_FULL, _SURELY_HALF = 3.3, 2.6
# The share of a 16-bit matrix that is left after quantization at load time.
_SHRINKS = {
    **dict.fromkeys(("fp8", "mxfp8", "modelopt_fp8", "w8a8_fp8", "w8a8_int8"), 0.5),
    "bitsandbytes": 0.28,  # 4 bits, and a scale of 4 bytes for each 64
}
_IN_16_BITS_FIRST = frozenset({"fp8", "mxfp8", "modelopt_fp8", "w8a8_fp8", "w8a8_int8"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes on each GPU."""

    loaded: int
    peak: int  # while they are loaded


def weights_of(
    shape: Shape,
    options: EngineOptions,
    stored: int,
    tensors: Iterable[Tensor] | None = None,
    *,
    quantized: bool = False,
) -> Weights:
    """`stored`: bytes of the loaded files. `tensors`: their tensors, if known. `quantized`:
    whether the files are quantized."""
    element = options.element
    if tensors is not None:
        whole = _as_loaded(shape, options, tensors, quantized=quantized)
    elif quantized:
        whole = stored
    else:
        whole = stored * element // (_stored_element(shape, stored) or element)
    shrunk = whole
    if not quantized and (share := _SHRINKS.get(options.quantization)):
        matrices = max(0, whole - embeddings(shape) * element)
        shrunk = whole - int(matrices * (1 - share))
    peak = whole if options.quantization in _IN_16_BITS_FIRST else shrunk
    return Weights(_on_gpu(shape, options, shrunk), _on_gpu(shape, options, peak))


def embeddings(shape: Shape) -> int:
    """Weights of the vocabulary: the input embeddings, and the output layer."""
    return shape.vocabulary * shape.width * (1 if shape.tied else 2)


def _as_loaded(
    shape: Shape, options: EngineOptions, tensors: Iterable[Tensor], *, quantized: bool
) -> int:
    return sum(
        _size(each, options, quantized=quantized)
        for each in tensors
        if not _is_left_out(each.name, shape, options)
    )


def _size(tensor: Tensor, options: EngineOptions, *, quantized: bool) -> int:
    converted = tensor.dtype in (_HALVES if quantized else _FLOATS)
    if not converted:
        return tensor.size
    return tensor.size // _FLOATS[tensor.dtype] * options.element


def _is_left_out(name: str, shape: Shape, options: EngineOptions) -> bool:
    if shape.tied and name.endswith("lm_head.weight"):
        return True
    if options.drafts:
        return False
    found = _LAYER.match(name)
    further = found is not None and int(found[1]) >= shape.own_layers > 0
    return name.startswith(_DRAFTS) or (further and shape.next_token_layers > 0)


def _stored_element(shape: Shape, stored: int) -> int:
    """Bytes of one number in the files, from their size and the configuration.

    A configuration may be older than its weights: many say bfloat16 for fp32 weights.
    """
    least, most = _parameters(shape)
    if least and most:
        if stored > _SURELY_FULL * most:
            return _FULL
        if stored < _SURELY_HALF * least:
            return _HALF
    return _FULL if shape.dtype in ("float32", "float") else _HALF if shape.dtype else 0


def _parameters(shape: Shape) -> tuple[int, int]:
    """The minimum and maximum number of weights; 0 if unknown."""
    experts = shape.number("num_experts", "n_routed_experts", "num_local_experts")
    unknown = not (shape.layers and shape.width and shape.feed_forward and shape.heads)
    if unknown or experts or not shape.reads_text_alone or is_latent(shape):
        return 0, 0
    attention = 2 * shape.width * shape.head * (shape.heads + shape.kv_heads)
    words = shape.vocabulary * shape.width
    matrix = shape.width * shape.feed_forward
    # Two or three matrices after the attention.
    return (
        words + shape.layers * (attention + 2 * matrix),
        2 * words + shape.layers * (attention + 3 * matrix),
    )


def _on_gpu(shape: Shape, options: EngineOptions, whole: int) -> int:
    """Bytes on the fullest GPU. A stage has its share of the layers, and the vocabulary at one
    or both ends."""
    words = shape.vocabulary * shape.width * options.element
    layers = shape.layers or 1
    share = min(1.0, ceil(layers / options.pipeline) / layers)
    own = whole
    if options.pipeline > 1:
        body = max(0, whole - embeddings(shape) * options.element)
        own = min(whole, int(body * share) + words)
    on_each = ceil(own / options.tensor) + _repeated(shape, options, share)
    return max(0, on_each - options.offloaded)


def _repeated(shape: Shape, options: EngineOptions, share: float) -> int:
    """Bytes that each GPU has beyond its share: key-value heads, if there are fewer than GPUs,
    or all weights of a latent vector."""
    if options.tensor == 1:
        return 0
    if is_latent(shape):
        ranks = shape.number("kv_lora_rank") + shape.number("q_lora_rank", most=1 << 16)
        whole = shape.width * (ranks + shape.number("qk_rope_head_dim")) * options.element
        return int(whole * shape.layers * share * (1 - 1 / options.tensor))
    extra = heads_on_gpu(shape.kv_heads, options) - shape.kv_heads / options.tensor
    width = shape.width * (shape.head + shape.value_head) * options.element
    return int(max(0.0, extra) * width * shape.layers * share)
