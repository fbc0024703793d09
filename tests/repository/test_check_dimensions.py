from __future__ import annotations

import time
from typing import Any

import pytest

from router.errors import UnsupportedModel
from router.repository.check_dimensions import check_dimensions, least_bytes

GB = 10**9


def llama(layers: int, hidden: int, heads: int, inner: int, words: int, **more: Any) -> Any:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": 131072,
    } | more


def moe(config: Any, experts: int, inner: int, **more: Any) -> Any:
    return config | {"n_routed_experts": experts, "moe_intermediate_size": inner} | more


YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}
# The published figures, and about the bytes of the smallest weights in use.
FAMILIES: dict[str, tuple[Any, int]] = {
    "Llama 3.1 405B, 2 bits": (llama(126, 16384, 128, 53248, 128256, head_dim=128), 110 * GB),
    "BigLlama 3.1 1T": (llama(235, 16384, 128, 53248, 128256), 2000 * GB),
    "Llama 4 Scout, 2 bits": (
        {
            "text_config": llama(48, 5120, 40, 8192, 202048)
            | {
                "max_position_embeddings": 10485760,
                "num_local_experts": 16,
                "intermediate_size_mlp": 16384,
                "rope_scaling": {"factor": 16.0, "original_max_position_embeddings": 8192},
                "no_rope_layers": [1, 1, 1, 0] * 12,
                "moe_layers": list(range(48)),
            },
            "vision_config": {
                "hidden_size": 1408,
                "image_size": 336,
                "intermediate_size": 5632,
                "num_hidden_layers": 34,
                "num_attention_heads": 16,
                "patch_size": 14,
                "pixel_shuffle_ratio": 0.5,
            },
        },
        27 * GB,
    ),
    "DeepSeek V3, 1.58 bits": (
        moe(llama(61, 7168, 128, 18432, 129280), 256, 2048, first_k_dense_replace=3)
        | {"kv_lora_rank": 512, "q_lora_rank": 1536, "num_nextn_predict_layers": 1}
        | {"rope_scaling": YARN, "quantization_config": {"weight_block_size": [128, 128]}},
        131 * GB,
    ),
    "DeepSeek V2 Lite": (
        moe(llama(27, 2048, 16, 10944, 102400), 64, 1408, q_lora_rank=None),
        31 * GB,
    ),
    "Kimi K2": (moe(llama(61, 7168, 64, 18432, 163840), 384, 2048), 1000 * GB),
    "Qwen3 235B-A22B, 4 bits": (
        llama(94, 4096, 64, 12288, 151936)
        | {"num_experts": 128, "moe_intermediate_size": 1536, "mlp_only_layers": []}
        | {"sliding_window": None, "max_window_layers": 94, "head_dim": 128},
        120 * GB,
    ),
    "Qwen3-Next 80B, 4 bits": (
        llama(48, 2048, 16, 5120, 151936)
        | {"num_experts": 512, "moe_intermediate_size": 512, "linear_conv_kernel_dim": 4}
        | {"head_dim": 256, "layer_types": ["linear_attention"] * 48},
        41 * GB,
    ),
    "Mixtral 8x22B, 4 bits": (
        llama(56, 6144, 48, 16384, 32768, num_local_experts=8, sliding_window=None),
        73 * GB,
    ),
    "gpt-oss 120B": (
        llama(36, 2880, 64, 2880, 201088, num_local_experts=128, head_dim=64)
        | {"rope_scaling": {"factor": 32.0, "original_max_position_embeddings": 4096}},
        63 * GB,
    ),
    "Grok 1": (llama(64, 6144, 48, 32768, 131072, num_local_experts=8), 318 * GB),
    "BitNet 2B 4T": (llama(30, 2560, 20, 6912, 128256), 1_180_000_000),
    "Gemma 3 270M, 4 bits": (llama(18, 640, 4, 2048, 262144, head_dim=256), 200_000_000),
    "Gemma 3n E4B": (
        {"text_config": llama(35, 2048, 8, 0, 262400) | {"intermediate_size": [16384] * 35}},
        15 * GB,
    ),
    "Nemotron-H 8B": (
        llama(52, 4096, 32, 21504, 131072, mamba_num_heads=128, ssm_state_size=128, expand=2)
        | {"conv_kernel": 4, "hybrid_override_pattern": "M-M-M-M*-" * 6},
        16 * GB,
    ),
    "Nemotron Ultra 253B": (
        llama(162, 16384, 128, 0, 128256, intermediate_size=None),
        506 * GB,
    ),
    "Falcon 180B": (
        llama(80, 14848, 232, 4 * 14848, 65024, num_kv_heads=8, alibi=False),
        360 * GB,
    ),
    "GPT-2": ({"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}, 548_000_000),
    "BLOOM 176B": ({"n_layer": 70, "hidden_size": 14336, "n_head": 112}, 352 * GB),
    "Phi 3 mini 128k": (
        llama(32, 3072, 32, 8192, 32064)
        | {
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0] * 48,
                "long_factor": [64.9],
            }
        },
        7 * GB,
    ),
    "Qwen2-VL 2B": (
        llama(28, 1536, 12, 8960, 151936)
        | {
            "vision_config": {
                "depth": 32,
                "embed_dim": 1280,
                "hidden_size": 1536,
                "num_heads": 16,
            }
        }
        | {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}},
        4 * GB,
    ),
    "T5 11B": (
        {"num_layers": 24, "d_model": 1024, "d_ff": 65536, "num_heads": 128, "d_kv": 128},
        22 * GB,
    ),
    "ALBERT xxlarge": (
        llama(12, 4096, 64, 16384, 30000, embedding_size=128, num_hidden_groups=1),
        890_000_000,
    ),
    "XLM-V": (llama(12, 768, 12, 3072, 901629, type_vocab_size=1), 3 * GB),
    "Whisper large v3": (
        {"d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "vocab_size": 51866}
        | {"encoder_attention_heads": 20, "num_mel_bins": 128, "max_source_positions": 1500},
        3 * GB,
    ),
    "a tiny random model": (llama(2, 8, 4, 32, 1000), 100_000),
    "AWQ": ({"quantization_config": {"bits": 4, "group_size": 128, "zero_point": True}}, 1),
    "compressed tensors": (
        {"quantization_config": {"config_groups": {"g": {"num_bits": 8, "group_size": None}}}},
        1,
    ),
    "ModelOpt": (
        {
            "quantization": {
                "quantized_layers": {f"l.{n}": {"group_size": 16} for n in range(9999)}
            }
        },
        1,
    ),
    "a preprocessor": (
        {"patch_size": {"height": 14, "width": 14}, "image_size": [336, 336]},
        1,
    ),
    "a Mistral params.json": (
        {"dim": 12288, "n_layers": 88, "head_dim": 128, "hidden_dim": 28672, "n_heads": 96},
        60 * GB,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_real_model_passes(family: str) -> None:
    config, weight_bytes = FAMILIES[family]
    check_dimensions("config.json", config, weight_bytes)


@pytest.mark.parametrize(
    "config",
    [
        *(
            {"num_hidden_layers": value}
            for value in (513, 3000, 0, -1, "61", [61], True, 1e308)
        ),
        *({"num_hidden_layers": value} for value in (1.5, {"a": 1}, 2**64 - 1)),
        *({key: 10_000} for key in ("n_layer", "n_layers", "num_layers", "depth", "n_blocks")),
        *({key: 10_000} for key in ("vt_num_hidden_layers", "num_nextn_predict_layers")),
        *({key: 10_000} for key in ("encoder_layers", "num_encoder_layers", "decoder_layers")),
        *({key: 10**6} for key in ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")),
        *({key: 10**6} for key in ("intermediate_size", "d_ff", "n_inner", "ffn_dim")),
        *({key: 10**6} for key in ("moe_intermediate_size", "decoder_ffn_dim", "mlp_dim")),
        *({key: 10**6} for key in ("num_attention_heads", "n_head", "num_key_value_heads")),
        *({key: 10**6} for key in ("linear_num_value_heads", "encoder_attention_heads")),
        *({key: 10**6} for key in ("head_dim", "qk_nope_head_dim", "v_head_dim", "d_kv")),
        *({key: 10**8} for key in ("vocab_size", "type_vocab_size", "num_labels")),
        *({key: 10**8} for key in ("max_position_embeddings", "n_positions", "max_seq_len")),
        {"original_max_position_embeddings": 10**8},
        *({key: 10**6} for key in ("num_experts", "n_routed_experts", "num_local_experts")),
        *({key: 10**6} for key in ("num_experts_per_tok", "moe_num_experts")),
        *({key: 10**6} for key in ("image_size", "patch_size", "spatial_merge_size")),
        *({key: 10**6} for key in ("linear_conv_kernel_dim", "conv_kernel", "mamba_d_conv")),
        *({key: 10**6} for key in ("ssm_state_size", "mamba_d_state", "expand")),
        {"sliding_window": 2**40},
        {"quantization_config": {"group_size": 2**30}},
        {"quantization_config": {"bits": 1000}},
        {"rope_scaling": {"factor": 10**6}},
        {"rope_scaling": {"factor": 4000}, "max_position_embeddings": 131072},
        {"rope_parameters": {"factor": 4000, "original_max_position_embeddings": 131072}},
        {"layer_types": ["full_attention"] * 5000},
        {"intermediate_size": [8] * 5000},
        {"intermediate_size": [8, 10**7]},
        {"image_size": {"height": 10**6}},
        {"text_config": {"thinker_config": [{"num_hidden_layers": 3000}]}},
        {"vision_config": {"vocab_size": "x"}},
    ],
    ids=str,
)
def test_dimensions_that_no_model_has_are_refused(config: Any) -> None:
    with pytest.raises(UnsupportedModel, match=r"config\.json is absurd"):
        check_dimensions("config.json", config, 10**15)


@pytest.mark.parametrize(
    "config",
    [
        llama(500, 4096, 32, 11008, 32000),
        {"text_config": {"n_layer": 100, "n_embd": 8192}},
        llama(1, 8, 1, 8, 8_000_000),
        llama(2, 64, 4, 500_000, 10),
        moe(llama(2, 64, 4, 64, 10), 60_000, 10_000),
        llama(2, 64, 4, 64, 10, num_local_experts=60_000),
        llama(2, 64, 2000, 64, 10, head_dim=4000),
    ],
)
def test_dimensions_that_the_weights_do_not_bear_out_are_refused(config: Any) -> None:
    with pytest.raises(
        UnsupportedModel, match=r"bytes of weights or more, and .* 400,000 bytes"
    ):
        check_dimensions("config.json", config, 400_000)


def test_a_dimension_that_is_not_set_passes() -> None:
    config = {"num_hidden_layers": None, "sliding_window": None, "n_inner": None}
    check_dimensions("config.json", config, 0)


@pytest.mark.parametrize("key", ["n_" * 28, "_" * 56, "a" * 4000, "num_hidden_layers_"])
def test_time_grows_with_the_configuration_and_no_faster(key: str) -> None:
    def seconds(keys: int) -> float:
        config = {f"{key}{number}": number for number in range(keys)}
        began = time.process_time()
        check_dimensions("config.json", config, 0)
        return time.process_time() - began

    seconds(1000)
    small = min(seconds(2000) for _ in range(3))
    assert min(seconds(8000) for _ in range(3)) < 16 * small + 0.01


@pytest.mark.parametrize("width", [float("inf"), float("nan"), -1])
def test_what_is_no_dimension_describes_no_weights(width: float) -> None:
    assert least_bytes({"num_hidden_layers": 2, "hidden_size": width}) == 0
    assert least_bytes([]) == 0


def test_the_least_bytes_are_those_of_the_largest_part() -> None:
    small = {"num_hidden_layers": 1, "hidden_size": 8}
    large = {"num_hidden_layers": 4, "hidden_size": 8}
    assert least_bytes({"vision_config": small, "text_config": large}) == 32
