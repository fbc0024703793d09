"""Counts the layers of a model that cache tokens, and those that keep a state.

The architectures are SGLang 0.5.23's: srt/configs/model_config.py (`is_hybrid_swa_model`,
`get_hybrid_layer_ids`) and srt/configs/hybrid_arch.py (`mambaish_config`). For all other
architectures, attention windows make no difference: every layer caches every token.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.repository.model_shape import Shape, whole

# Sliding-window layers have a smaller cache of their own.
WINDOWED = frozenset(
    {
        *("BeamForCausalLM", "EmbeddingGemma2Model", "Gemma4ForCausalLM"),
        *("Gemma4ForConditionalGeneration", "Gemma4UnifiedForConditionalGeneration"),
        *("DiffusionGemmaForBlockDiffusion", "GptOssForCausalLM", "GraniteSWAForCausalLM"),
        *("GraniteMoeSWAForCausalLM", "IQuestQ1ForCausalLM", "LagunaForCausalLM"),
        *("Llama4ForConditionalGeneration", "MellumForCausalLM", "MiMoV2ForCausalLM"),
        *("MiMoV2FlashForCausalLM", "MuseGlimmerForCausalLM", "Step3p5ForCausalLM"),
        *("MuseGlimmerForConditionalGeneration", "InklingForConditionalGeneration"),
        *("Step3p7ForConditionalGeneration", "UnlimitedOCRForCausalLM"),
    }
)
# All or some layers keep a state in place of a cache.
STATEFUL = frozenset(
    {
        *("FalconH1ForCausalLM", "FalconMambaForCausalLM", "GraniteMoeHybridForCausalLM"),
        *("JetNemotronForCausalLM", "JetVLMForConditionalGeneration", "MambaForCausalLM"),
        *("Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "Lfm2VlForConditionalGeneration"),
        *("Mamba2ForCausalLM", "NemotronHForCausalLM", "NemotronHPuzzleForCausalLM"),
        *("NemotronH_Nano_VL_V2", "NemotronH_Nano_Omni_Reasoning_V3", "Qwen3NextForCausalLM"),
        *("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForCausalLM"),
        *("Qwen3_5MoeForConditionalGeneration", "InternS2PreviewForConditionalGeneration"),
        *("KimiLinearForCausalLM", "KimiK3LinearForCausalLM", "KimiK3ForConditionalGeneration"),
        *("BailingMoeV2_5ForCausalLM", "BailingMoeV3ForCausalLM"),
        "Glm5NextForConditionalGeneration",
    }
)
_PURE = frozenset({"FalconMambaForCausalLM", "MambaForCausalLM", "Mamba2ForCausalLM"})
_BOTH = frozenset({"FalconH1ForCausalLM"})  # in each layer

_CACHED_KINDS = frozenset({"full_attention", "attention", "attn", "swa"})
_STATE_KINDS = frozenset({"linear_attention", "mamba", "conv", "short_conv", "jet"})
_INTERVAL = 4  # the default for Qwen3-Next


@dataclass(frozen=True, slots=True)
class Layers:
    """Numbers of layers by kind."""

    full: int  # cache every token
    windowed: int = 0  # cache the tokens within a window, separately
    states: int = 0  # keep one state per request


def layers_of(shape: Shape, *, windows: bool) -> Layers:
    """`windows`: whether SGLang may give sliding-window layers a cache of their own."""
    if not STATEFUL.isdisjoint(shape.names):
        return _stateful(shape)
    opted_in = shape.text.get("is_hybrid_swa") is True
    if windows and (opted_in or not WINDOWED.isdisjoint(shape.names)):
        return _windowed(shape)
    return Layers(shape.layers)


def _windowed(shape: Shape) -> Layers:
    count = shape.layers
    if "Llama4ForConditionalGeneration" in shape.names:
        return Layers(count // 4, count - count // 4)
    if "UnlimitedOCRForCausalLM" in shape.names:
        return Layers(0, count)
    if "LagunaForCausalLM" in shape.names and not whole(shape.text.get("sliding_window")):
        return Layers(count)
    local = shape.text.get("local_layer_ids")
    if isinstance(local, list) and "InklingForConditionalGeneration" in shape.names:
        return Layers(max(0, count - len(local)), min(len(local), count))
    pattern = shape.text.get("hybrid_layer_pattern")
    if isinstance(pattern, list):
        windowed = sum(1 for each in pattern[:count] if whole(each) == 1)
        return Layers(count - windowed, windowed)
    kinds = shape.layer_types[:count]
    windowed = kinds.count("sliding_attention")
    return Layers(count - windowed, windowed)


def _stateful(shape: Shape) -> Layers:
    count = shape.layers
    if not _PURE.isdisjoint(shape.names):
        return Layers(0, states=count)
    if not _BOTH.isdisjoint(shape.names):
        return Layers(count, states=count)
    if shape.pattern:
        return Layers(shape.pattern.count("*"), states=shape.pattern.count("M"))
    if kinds := shape.layer_types[:count]:
        full = sum(1 for each in kinds if each in _CACHED_KINDS)
        return Layers(full, states=sum(1 for each in kinds if each in _STATE_KINDS))
    states = min(_states(shape, count), count)
    return Layers(count - states, states=states)


def _states(shape: Shape, count: int) -> int:
    """Layers with a state, if no list says the kind of each layer."""
    kda, size = shape.text.get("linear_attn_config"), shape.text.get("layer_group_size")
    if isinstance(kda, dict) and isinstance(kda.get("kda_layers"), list):
        return len(kda["kda_layers"])
    if isinstance(size, list):
        return sum(1 for each in size[:count] if whole(each) == 1)
    interval = whole(size) or shape.number("full_attention_interval") or _INTERVAL
    return count - count // interval
