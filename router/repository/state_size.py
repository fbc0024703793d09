"""Bytes of a request's state in layers without a cache (Mamba, linear attention).

It follows srt/configs/mamba_utils.py (`Mamba2StateShape`, `KimiLinearStateShape`) and the
`mamba2_cache_params` properties in srt/configs/*.py of SGLang 0.5.23.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.repository.engine_options import EngineOptions
from router.repository.model_shape import Shape, whole

# Slots of the pool per request: its own, and copies for the prefix cache. With an "extra
# buffer" two more (mem_cache/kv_cache_configurator.py, `_calculate_mamba_ratio`).
_SLOTS = 3
_SLOTS_WITH_BUFFER = 5
BUFFERED = frozenset(
    {
        *("BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM", "FalconH1ForCausalLM"),
        *("Glm5NextForConditionalGeneration", "GraniteMoeHybridForCausalLM"),
        *("InternS2PreviewForConditionalGeneration", "KimiK3ForConditionalGeneration"),
        *("KimiLinearForCausalLM", "NemotronHForCausalLM", "NemotronHPuzzleForCausalLM"),
        *("Qwen3NextForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
        *("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    }
)
_CONVOLVED = 2  # bytes; SGLANG_MAMBA_CONV_DTYPE is bfloat16
_SSM_BYTES = {"bfloat16": 2, "float16": 2}
_SSM_DEFAULT = 4
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class LayerState:
    """The state of one layer: a convolution over `channels` of `kernel` steps, and numbers."""

    channels: int
    kernel: int
    numbers: int


def state_bytes(shape: Shape, options: EngineOptions, layers: int) -> int:
    """Bytes of one request on each GPU, in all of its `layers` with a state."""
    state = _state(shape, options.attention)
    size = _CONVOLVED * state.channels * max(0, state.kernel - 1)
    size += state.numbers * _ssm_bytes(shape)
    return -(-size // options.attention) * layers * _slots(shape, options)


def _slots(shape: Shape, options: EngineOptions) -> int:
    if not options.prefix_cache:
        return 1
    buffered = not options.on.cpu and not BUFFERED.isdisjoint(shape.names)
    return _SLOTS_WITH_BUFFER if buffered else _SLOTS


def _ssm_bytes(shape: Shape) -> int:
    stated = shape.text.get("mamba_ssm_dtype")
    return _SSM_BYTES.get(stated, _SSM_DEFAULT) if isinstance(stated, str) else _SSM_DEFAULT


def _state(shape: Shape, gpus: int) -> LayerState:
    text = shape.text
    if "linear_num_value_heads" in text or "linear_num_key_heads" in text:
        return _gated_delta(shape, gpus)
    if isinstance(kda := text.get("linear_attn_config"), dict):
        heads, head = whole(kda.get("num_heads"), _MOST), whole(kda.get("head_dim"), _MOST)
        kernel = whole(kda.get("short_conv_kernel_size"), _MOST) or 4
        return LayerState(3 * heads * head, kernel, heads * head * head)
    if "conv_L_cache" in text:
        return LayerState(shape.width, whole(text["conv_L_cache"], _MOST), 0)
    if not {"FalconMambaForCausalLM", "MambaForCausalLM"}.isdisjoint(shape.names):
        inner = _number(shape, "intermediate_size") or 2 * shape.width
        kernel, size = _number(shape, "conv_kernel") or 4, _number(shape, "state_size") or 16
        return LayerState(inner, kernel, inner * size)
    if "layer_group_size" in text:
        return LayerState(0, 1, shape.heads * shape.head * shape.head)
    return _mamba2(shape, gpus)


def _gated_delta(shape: Shape, gpus: int) -> LayerState:
    """Qwen3-Next and Qwen3.5."""
    keys, values = (
        _number(shape, "linear_num_key_heads"),
        _number(shape, "linear_num_value_heads"),
    )
    key = _number(shape, "linear_key_head_dim") or 128
    value = _number(shape, "linear_value_head_dim") or 128
    kernel = _number(shape, "linear_conv_kernel_dim") or 4
    return LayerState(
        values * value + 2 * _shared(keys, gpus) * key, kernel, values * value * key
    )


def _mamba2(shape: Shape, gpus: int) -> LayerState:
    heads = _number(shape, "mamba_n_heads", "mamba_num_heads", "num_heads")
    head = _number(shape, "mamba_d_head", "mamba_head_dim")
    groups = _number(shape, "mamba_n_groups", "n_groups") or 1
    size = _number(shape, "mamba_d_state", "ssm_state_size", "state_size")
    kernel = _number(shape, "mamba_d_conv", "conv_kernel") or 4
    expand = _number(shape, "mamba_expand", "expand") or 2
    inner = _number(shape, "mamba_d_ssm") or (heads * head or expand * shape.width)
    return LayerState(inner + 2 * _shared(groups, gpus) * size, kernel, inner * size)


def _shared(groups: int, gpus: int) -> int:
    """Head groups that GPUs can share: `groups` if divisible, else one per GPU
    (`extra_groups_for_head_shards`)."""
    return groups if groups % gpus == 0 else gpus


def _number(shape: Shape, *names: str) -> int:
    return shape.number(*names, most=_MOST)
