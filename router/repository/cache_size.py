"""Bytes of an engine's cache per token and per request, on each GPU.

This follows how SGLang 0.5.23 sizes its pools: srt/model_executor/pool_configurator.py
(`_compute_cell_size`, `HybridSWAPoolConfigurator`), srt/configs/model_config.py
(`_derive_model_shapes`, `get_num_kv_heads`), srt/configs/mamba_utils.py
(`mamba_cache_per_req`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from router.repository.engine_options import EngineOptions
from router.repository.layer_kinds import Layers, layers_of
from router.repository.model_shape import Shape, whole
from router.repository.state_size import state_bytes

Json = Mapping[str, Any]

# These store one compressed vector for all heads (MLA), if the configuration has its width.
LATENT = frozenset(
    {
        *("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM"),
        *("DeepseekVL2ForCausalLM", "DotsVLMForCausalLM", "Dots3NoteForCausalLM"),
        *("Glm4MoeLiteForCausalLM", "GlmMoeDsaForCausalLM", "GigaChat35ForCausalLM"),
        *("Glm5NextForConditionalGeneration", "HYV4ForCausalLM", "LongcatFlashForCausalLM"),
        *("KimiK25ForConditionalGeneration", "KimiK3ForConditionalGeneration"),
        *("KimiK3LinearForCausalLM", "KimiLinearForCausalLM", "KimiVLForConditionalGeneration"),
        *("MiniCPM3ForCausalLM", "MistralLarge3ForCausalLM", "SarvamMLAForCausalLM"),
        *("BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM"),
        *("BailingMoeV3VLForConditionalGeneration", "PixtralForConditionalGeneration"),
    }
)
# These also store an index of the tokens to attend to (DSA), if they have `index_topk`.
_INDEXED = frozenset(
    {
        *("DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM", "Dots3NoteForCausalLM"),
        *("MistralLarge3ForCausalLM", "PixtralForConditionalGeneration", "HYV4ForCausalLM"),
        *("GlmMoeDsaForCausalLM", "Glm5NextForConditionalGeneration"),
        "LongcatFlashForCausalLM",
    }
)
_BLOCK = 128  # values that share a scale of 4 bytes
_BLACKWELL = 100  # compute capability from which the cache of `_INDEXED` is fp8 by default

GEMMA4 = frozenset(
    {
        *("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
        *("Gemma4UnifiedForConditionalGeneration", "DiffusionGemmaForBlockDiffusion"),
    }
)
_COMPRESSED = "DeepseekV4ForCausalLM"
# Tokens of sliding-window layers, per token of the other layers.
_WINDOW_SHARE = 0.8
_SMALL_WINDOW_SHARE = 0.1  # of `_COMPRESSED` and of Inkling
_INKLING = "InklingForConditionalGeneration"

UNKNOWN_TOKEN = 512 << 10
"""Bytes per token if the configuration does not tell: as many as Llama 2 7B takes, whose heads
share nothing. Most models take a quarter of it."""

MAX_BYTES = 1 << 40  # of a token, or of a request; no model comes near


def token_bytes(shape: Shape, options: EngineOptions, quantization: Json) -> int:
    """Bytes per token, in all layers. `quantization`: the model's quantization settings."""
    layers = layers_of(shape, windows=options.windows)
    if not shape.layers or not (shape.heads or layers.states):
        size: float = UNKNOWN_TOKEN
    elif _COMPRESSED in shape.names:
        size = _compressed(shape)
    elif is_latent(shape):
        size = _latent(shape, options, layers, quantization)
    else:
        size = _plain(shape, options, layers, quantization)
    return min(ceil(size / options.pipeline), MAX_BYTES)


def sequence_bytes(shape: Shape, options: EngineOptions) -> int:
    """Bytes per request, no matter how long it is: the states of layers without a cache."""
    count = layers_of(shape, windows=options.windows).states
    if not count:
        return 0
    return min(ceil(state_bytes(shape, options, count) / options.pipeline), MAX_BYTES)


def is_latent(shape: Shape) -> bool:
    return not LATENT.isdisjoint(shape.names) and shape.number("kv_lora_rank", most=1 << 16) > 0


def kv_element(options: EngineOptions, quantization: Json) -> float:
    """Bytes of one number in the cache (mem_cache/kv_cache_dtype.py)."""
    kind = options.kv_dtype
    if kind == "mxfp8":
        return 1 + 1 / 32
    if kind.startswith("fp8"):
        return 1
    if kind in ("nvfp4", "fp4_mx_block16"):
        return 0.5 + 1 / 16
    if kind in ("bf16", "bfloat16"):
        return 2
    return 1 if _stated_fp8(quantization) else options.element


def _stated_fp8(quantization: Json) -> bool:
    """Whether NVIDIA's ModelOpt has prepared the model for an 8-bit cache."""
    inner = quantization.get("quantization")
    about = inner if isinstance(inner, dict) else quantization
    if "quant_algo" not in about:
        return False
    stated, scheme = about.get("kv_cache_quant_algo"), about.get("kv_cache_scheme")
    if isinstance(scheme, dict) and stated is None:
        return bool(scheme.get("type") == "float" and whole(scheme.get("num_bits")) == 8)
    return isinstance(stated, str) and stated.upper() == "FP8"


def heads_on_gpu(heads: int, options: EngineOptions) -> int:
    """Heads per GPU. With more GPUs than heads, each GPU has one."""
    return max(1, heads // options.attention)


def _plain(shape: Shape, options: EngineOptions, layers: Layers, quantization: Json) -> float:
    element = kv_element(options, quantization)
    full, windowed = _full_width(shape, options), _windowed_width(shape, options)
    if not layers.full:
        return layers.windowed * windowed * element
    share = options.window_share or _share(shape)
    return (layers.full * full + share * layers.windowed * windowed) * element


def _share(shape: Shape) -> float:
    return _SMALL_WINDOW_SHARE if _INKLING in shape.names else _WINDOW_SHARE


def _full_width(shape: Shape, options: EngineOptions) -> int:
    """Numbers per token in one layer: the keys and values of all heads."""
    heads, head, value = shape.kv_heads, shape.head, shape.value_head
    if not GEMMA4.isdisjoint(shape.names):
        # The other dimensions are those of its sliding-window layers.
        heads = shape.number("num_global_key_value_heads") or heads
        head = value = shape.number("global_head_dim") or head
    return heads_on_gpu(heads, options) * (head + value)


def _windowed_width(shape: Shape, options: EngineOptions) -> int:
    """The same for a sliding-window layer, which may have its own head dimensions."""
    text, head, value = shape.text, shape.head, shape.value_head
    other = text.get("attention_other_setting")
    heads = whole(text.get("swa_num_key_value_heads"))
    if isinstance(other, dict):
        heads = heads or whole(other.get("num_attention_groups"))
    if own := whole(text.get("swa_head_dim")):
        head, value = own, whole(text.get("swa_v_head_dim")) or own
    return heads_on_gpu(heads or shape.kv_heads, options) * (head + value)


def _latent(shape: Shape, options: EngineOptions, layers: Layers, quantization: Json) -> float:
    rank = shape.number("kv_lora_rank", most=1 << 16)
    rope = shape.number("qk_rope_head_dim", most=1 << 16)
    if shape.text.get("use_mla_nope") is True:
        rope = 0
    element = kv_element(options, quantization)
    size, index = (rank + rope) * element, 0.0
    if not _INDEXED.isdisjoint(shape.names) and whole(shape.text.get("index_topk")):
        head = shape.number("index_head_dim", most=1 << 16) or _BLOCK
        index = head + head // _BLOCK * 4
        index /= whole(shape.text.get("index_kpool")) or 1
        if not options.kv_dtype and (options.on.capability or 0) >= _BLACKWELL:
            size = rank + rope
        elif options.kv_dtype.startswith("fp8"):
            # The scales beside it, and the positions in their own format.
            size = rank + rank // _BLOCK * 4 + rope * 2
    return layers.full * (size + index)


def _compressed(shape: Shape) -> float:
    """DeepSeek V4: a layer stores one vector for several tokens, and a window of its own."""
    rope = shape.number("qk_rope_head_dim", most=1 << 16)
    head = shape.number("head_dim", most=1 << 16)
    vector = max(0, head - rope) + 2 * rope + 8
    index = shape.number("index_head_dim", most=1 << 16)
    index += index // _BLOCK * 4
    listed = shape.text.get("compress_ratios")
    ratios = (
        [whole(each) for each in listed[: shape.layers]] if isinstance(listed, list) else []
    )
    # Only layers with few tokens per vector have the index.
    paged = sum((vector + (index if each <= 4 else 0)) / each for each in ratios if each)
    return paged + _SMALL_WINDOW_SHARE * vector * shape.layers
