"""Public models: the essential parts of their configurations, and an engine's memory computed
by hand.

The numbers come from the models' cards and papers, not from the code under test: `weights` is
the number of parameters, times the bytes of each as SGLang loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

BF16, FP32, HALF = 2, 4, 0.5  # bytes


@dataclass(frozen=True, slots=True)
class Family:
    """One model.

    * `stored`, `loaded`: bytes of the weights, in the files and in an engine.
    * `token`: bytes of the cache. `sequence`: of one request's states, without copies.
    """

    name: str
    config: Json
    stored: int
    loaded: int
    token: float
    context: int
    sequence: int = 0


def gated(  # noqa: PLR0917 - the columns of a table
    layers: int, width: int, inner: int, heads: int, kv: int, head: int, words: int
) -> int:
    """The number of parameters of a model like Llama, with two matrices of words."""
    attention = 2 * width * heads * head + 2 * width * kv * head
    return layers * (attention + 3 * width * inner + 2 * width) + 2 * words * width + width


def dense(kind: str, name: str, **fields: Any) -> Json:
    return {"architectures": [name], "model_type": kind, "torch_dtype": "bfloat16", **fields}


def sizes(  # noqa: PLR0917 - the columns of a table
    layers: int, width: int, inner: int, heads: int, kv: int, words: int, positions: int
) -> Json:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": words,
        "max_position_embeddings": positions,
    }


LLAMA3_ROPE = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
LLAMA = dense(
    "llama",
    "LlamaForCausalLM",
    **sizes(32, 4096, 14336, 32, 8, 128256, 131072),
    rope_scaling=LLAMA3_ROPE,
    tie_word_embeddings=False,
)
LLAMA_8B = gated(32, 4096, 14336, 32, 8, 128, 128256)
assert LLAMA_8B == 8_030_261_248  # as its card says


def without(config: Json, *names: str) -> Json:
    return {name: value for name, value in config.items() if name not in names}


def _plain() -> list[Family]:
    seventy = gated(80, 8192, 28672, 64, 8, 128, 128256)
    one = gated(16, 2048, 8192, 32, 8, 64, 128256) - 128256 * 2048
    mistral = gated(32, 4096, 14336, 32, 8, 128, 32000)
    qwen8 = gated(36, 4096, 12288, 32, 8, 128, 151936)
    qwen32 = gated(64, 5120, 25600, 64, 8, 128, 151936)
    qwen06 = gated(28, 1024, 3072, 16, 8, 128, 151936)
    return [
        Family(
            "Llama 3.1 8B",
            LLAMA,
            LLAMA_8B * BF16,
            LLAMA_8B * BF16,
            2 * 8 * 128 * 32 * 2,
            131072,
        ),
        Family(
            "Llama 3.1 70B",
            LLAMA | sizes(80, 8192, 28672, 64, 8, 128256, 131072),
            seventy * BF16,
            seventy * BF16,
            2 * 8 * 128 * 80 * 2,
            131072,
        ),
        Family(
            "Llama 3.2 1B, tied",
            LLAMA
            | sizes(16, 2048, 8192, 32, 8, 128256, 131072)
            | {
                "head_dim": 64,
                "tie_word_embeddings": True,
                "rope_scaling": LLAMA3_ROPE | {"factor": 32.0},
            },
            one * BF16,
            one * BF16,
            2 * 8 * 64 * 16 * 2,
            131072,
        ),
        Family(
            "Llama 3.1 8B, saved in fp32",
            LLAMA | {"torch_dtype": "float32"},
            LLAMA_8B * FP32,
            LLAMA_8B * BF16,
            2 * 8 * 128 * 32 * 2,
            131072,
        ),
        Family(
            "Llama 3.1 8B, in fp32 under the configuration of bf16",
            LLAMA,
            LLAMA_8B * FP32,
            LLAMA_8B * BF16,
            2 * 8 * 128 * 32 * 2,
            131072,
        ),
        Family(
            "Llama 3.1 8B, without a word on its number format",
            without(LLAMA, "torch_dtype"),
            LLAMA_8B * BF16,
            LLAMA_8B * BF16,
            2 * 8 * 128 * 32 * 2,
            131072,
        ),
        Family(
            "Mistral 7B v0.1, whose window changes nothing",
            dense(
                "mistral",
                "MistralForCausalLM",
                **sizes(32, 4096, 14336, 32, 8, 32000, 32768),
                sliding_window=4096,
            ),
            mistral * BF16,
            mistral * BF16,
            2 * 8 * 128 * 32 * 2,
            32768,
        ),
        Family(
            "Qwen3 0.6B, which stores its tied matrix twice",
            dense(
                "qwen3",
                "Qwen3ForCausalLM",
                **sizes(28, 1024, 3072, 16, 8, 151936, 40960),
                head_dim=128,
                tie_word_embeddings=True,
            ),
            qwen06 * BF16,
            qwen06 * BF16,  # its files alone don't tell
            2 * 8 * 128 * 28 * 2,
            40960,
        ),
        Family(
            "Qwen3 8B",
            dense(
                "qwen3",
                "Qwen3ForCausalLM",
                **sizes(36, 4096, 12288, 32, 8, 151936, 40960),
                head_dim=128,
            ),
            qwen8 * BF16,
            qwen8 * BF16,
            2 * 8 * 128 * 36 * 2,
            40960,
        ),
        Family(
            "Qwen3 32B",
            dense(
                "qwen3",
                "Qwen3ForCausalLM",
                **sizes(64, 5120, 25600, 64, 8, 151936, 40960),
                head_dim=128,
            ),
            qwen32 * BF16,
            qwen32 * BF16,
            2 * 8 * 128 * 64 * 2,
            40960,
        ),
        Family(
            "Qwen2.5 7B with YaRN",
            dense(
                "qwen2",
                "Qwen2ForCausalLM",
                **sizes(28, 3584, 18944, 28, 4, 152064, 32768),
                rope_scaling={
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                    "type": "yarn",
                },
            ),
            7_615_616_512 * BF16,
            7_615_616_512 * BF16,
            2 * 4 * 128 * 28 * 2,
            32768,
        ),
        Family(
            "Phi-3 mini",
            dense(
                "phi3",
                "Phi3ForCausalLM",
                **sizes(32, 3072, 8192, 32, 32, 32064, 4096),
                sliding_window=2047,
            ),
            3_821_079_552 * BF16,
            3_821_079_552 * BF16,
            2 * 32 * 96 * 32 * 2,
            4096,
        ),
        Family(
            "Phi-4",
            dense("phi3", "Phi3ForCausalLM", **sizes(40, 5120, 17920, 40, 10, 100352, 16384)),
            14_659_507_200 * BF16,
            14_659_507_200 * BF16,
            2 * 10 * 128 * 40 * 2,
            16384,
        ),
        Family(
            "GLM-4 9B",
            dense(
                "glm4",
                "Glm4ForCausalLM",
                **sizes(40, 4096, 13696, 32, 2, 151552, 32768),
                head_dim=128,
            ),
            9_400_279_040 * BF16,
            9_400_279_040 * BF16,
            2 * 2 * 128 * 40 * 2,
            32768,
        ),
        Family(
            "Falcon 7B, whose heads share one of keys and values",
            {
                **dense("falcon", "FalconForCausalLM"),
                "hidden_size": 4544,
                "num_hidden_layers": 32,
                "num_attention_heads": 71,
                "multi_query": True,
                "new_decoder_architecture": False,
                "vocab_size": 65024,
                "parallel_attn": True,
                "alibi": False,
            },
            7_217_189_760 * BF16,
            7_217_189_760 * BF16,
            2 * 1 * 64 * 32 * 2,
            2048,
        ),
        Family(
            "GPT-2, with names of its own for dimensions",
            {
                **without(dense("gpt2", "GPT2LMHeadModel"), "torch_dtype"),
                "n_embd": 768,
                "n_layer": 12,
                "n_head": 12,
                "n_positions": 1024,
                "n_ctx": 1024,
                "vocab_size": 50257,
            },
            124_439_808 * FP32,
            124_439_808 * FP32,  # too few bytes to tell that it is fp32
            2 * 12 * 64 * 12 * 2,
            1024,
        ),
    ]


def _mixed() -> list[Family]:
    return [
        Family(
            "Qwen3 30B-A3B",
            dense(
                "qwen3_moe",
                "Qwen3MoeForCausalLM",
                **sizes(48, 2048, 6144, 32, 4, 151936, 40960),
                head_dim=128,
                num_experts=128,
                num_experts_per_tok=8,
                moe_intermediate_size=768,
            ),
            30_532_122_624 * BF16,
            30_532_122_624 * BF16,
            2 * 4 * 128 * 48 * 2,
            40960,
        ),
        Family(
            "Mixtral 8x7B",
            dense(
                "mixtral",
                "MixtralForCausalLM",
                **sizes(32, 4096, 14336, 32, 8, 32000, 32768),
                num_local_experts=8,
                num_experts_per_tok=2,
            ),
            46_702_792_704 * BF16,
            46_702_792_704 * BF16,
            2 * 8 * 128 * 32 * 2,
            32768,
        ),
        Family(
            "GLM-4.5 Air, with a layer for the next token",
            dense(
                "glm4_moe",
                "Glm4MoeForCausalLM",
                **sizes(46, 4096, 10944, 96, 8, 151552, 131072),
                head_dim=128,
                n_routed_experts=128,
                num_experts_per_tok=8,
                moe_intermediate_size=1408,
                num_nextn_predict_layers=1,
            ),
            110_468_824_832 * BF16,
            110_468_824_832 * BF16,  # from the files' sizes alone, with that layer
            2 * 8 * 128 * 46 * 2,
            131072,
        ),
        Family(
            "DeepSeek V2 Lite",
            dense(
                "deepseek_v2",
                "DeepseekV2ForCausalLM",
                **sizes(27, 2048, 10944, 16, 16, 102400, 163840),
                kv_lora_rank=512,
                q_lora_rank=None,
                qk_nope_head_dim=128,
                qk_rope_head_dim=64,
                v_head_dim=128,
                n_routed_experts=64,
                num_experts_per_tok=6,
                moe_intermediate_size=1408,
                rope_scaling={
                    "factor": 40,
                    "original_max_position_embeddings": 4096,
                    "mscale": 0.707,
                    "mscale_all_dim": 0.707,
                    "beta_fast": 32,
                    "beta_slow": 1,
                    "type": "yarn",
                },
            ),
            15_706_484_224 * BF16,
            15_706_484_224 * BF16,
            (512 + 64) * 27 * 2,
            163840,
        ),
        Family(
            "DeepSeek V3, in fp8",
            dense(
                "deepseek_v3",
                "DeepseekV3ForCausalLM",
                **sizes(61, 7168, 18432, 128, 128, 129280, 163840),
                kv_lora_rank=512,
                q_lora_rank=1536,
                qk_nope_head_dim=128,
                qk_rope_head_dim=64,
                v_head_dim=128,
                n_routed_experts=256,
                num_experts_per_tok=8,
                moe_intermediate_size=2048,
                num_nextn_predict_layers=1,
                quantization_config={
                    "quant_method": "fp8",
                    "activation_scheme": "dynamic",
                    "fmt": "e4m3",
                    "weight_block_size": [128, 128],
                },
                rope_scaling={
                    "factor": 40,
                    "original_max_position_embeddings": 4096,
                    "mscale": 1.0,
                    "mscale_all_dim": 1.0,
                    "beta_fast": 32,
                    "beta_slow": 1,
                    "type": "yarn",
                },
            ),
            688_586_727_753,
            688_586_727_753,
            (512 + 64) * 61 * 2,
            163840,
        ),
        Family(
            "GPT-OSS 20B: half of its layers have a window, and mxfp4",
            {
                **without(dense("gpt_oss", "GptOssForCausalLM"), "torch_dtype"),
                **sizes(24, 2880, 2880, 64, 8, 201088, 131072),
                "head_dim": 64,
                "sliding_window": 128,
                "layer_types": ["sliding_attention", "full_attention"] * 12,
                "num_local_experts": 32,
                "num_experts_per_tok": 4,
                "quantization_config": {"quant_method": "mxfp4"},
                "rope_scaling": {
                    "beta_fast": 32.0,
                    "beta_slow": 1.0,
                    "factor": 32.0,
                    "original_max_position_embeddings": 4096,
                    "rope_type": "yarn",
                    "truncate": False,
                },
            },
            13_761_264_768,
            13_761_264_768,
            2 * 8 * 64 * 2 * (12 + 0.8 * 12),
            131072,
        ),
        Family(
            "Llama 4 Scout: three of four layers have a window",
            {
                "architectures": ["Llama4ForConditionalGeneration"],
                "model_type": "llama4",
                "torch_dtype": "bfloat16",
                "text_config": {
                    **sizes(48, 5120, 8192, 40, 8, 202048, 10_485_760),
                    "model_type": "llama4_text",
                    "head_dim": 128,
                    "num_local_experts": 16,
                    "rope_scaling": {
                        "factor": 16.0,
                        "high_freq_factor": 1.0,
                        "low_freq_factor": 1.0,
                        "original_max_position_embeddings": 8192,
                        "rope_type": "llama3",
                    },
                },
                "vision_config": {"model_type": "llama4_vision_model", "hidden_size": 1408},
            },
            108_641_793_536 * BF16,
            108_641_793_536 * BF16,
            2 * 8 * 128 * 2 * (12 + 0.8 * 36),
            10_485_760,
        ),
    ]


def _quantized() -> list[Family]:
    token, context = 2 * 8 * 128 * 32 * 2, 131072
    int4 = {"bits": 4, "group_size": 128}
    awq = {"quant_method": "awq", "version": "gemm", "zero_point": True, **int4}
    gptq = {"quant_method": "gptq", "desc_act": True, "sym": True, **int4}
    # The matrices have 4 bits, with a scale and a zero for each 128; the words have 16 bits.
    words, matrices = 2 * 128256 * 4096, LLAMA_8B - 2 * 128256 * 4096
    packed = int(words * BF16 + matrices * HALF * (1 + 20 / 512))
    eight = words * BF16 + matrices
    in_fp8 = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    return [
        Family(
            f"Llama 3.1 8B, {kind}",
            LLAMA | {"torch_dtype": dtype, "quantization_config": about},
            stored,
            stored,
            token,
            context,
        )
        for kind, dtype, about, stored in (
            ("AWQ", "float16", awq, packed),
            ("GPTQ", "float16", gptq, packed),
            ("FP8", "bfloat16", in_fp8, eight),
        )
    ]


def _seeing() -> list[Family]:
    gemma3 = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        # As published: omitted values have the type's defaults.
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "model_type": "siglip_vision_model",
            "num_hidden_layers": 27,
        },
    }
    qwen_vl = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "torch_dtype": "bfloat16",
        # As published: the text's numbers are those of the whole model.
        **sizes(28, 3584, 18944, 28, 4, 152064, 128000),
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"model_type": "qwen2_5_vl", "hidden_size": 1280, "depth": 32},
    }
    return [
        Family(
            "Gemma 3 4B, whose windows change nothing",
            gemma3,
            4_300_079_472 * BF16,
            4_300_079_472 * BF16,
            2 * 4 * 256 * 34 * 2,
            131072,
        ),
        Family(
            "Gemma 2 9B",
            dense(
                "gemma2",
                "Gemma2ForCausalLM",
                **sizes(42, 3584, 14336, 16, 8, 256000, 8192),
                head_dim=256,
                sliding_window=4096,
            ),
            9_241_705_984 * BF16,
            9_241_705_984 * BF16,
            2 * 8 * 256 * 42 * 2,
            8192,
        ),
        Family(
            "Qwen2.5-VL 7B",
            qwen_vl,
            8_292_166_656 * BF16,
            8_292_166_656 * BF16,
            2 * 4 * 128 * 28 * 2,
            128000,
        ),
        Family(
            "InternVL3 8B, whose language model is in `llm_config`",
            {
                "architectures": ["InternVLChatModel"],
                "model_type": "internvl_chat",
                "torch_dtype": "bfloat16",
                "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
                "llm_config": dense(
                    "qwen2",
                    "Qwen2ForCausalLM",
                    **sizes(28, 3584, 18944, 28, 4, 151674, 32768),
                ),
                "vision_config": {"hidden_size": 1024, "model_type": "intern_vit_6b"},
            },
            7_944_373_760 * BF16,
            7_944_373_760 * BF16,
            2 * 4 * 128 * 28 * 2,
            32768,
        ),
    ]


def _stateful() -> list[Family]:
    granite = (
        ["mamba"] * 5 + ["attention"] + (["mamba"] * 9 + ["attention"]) * 3 + ["mamba"] * 4
    )
    lfm = ["conv" if n not in (2, 5, 8, 10, 12, 14) else "full_attention" for n in range(16)]
    return [
        Family(
            "Qwen3-Next 80B-A3B: one of four layers keeps tokens",
            dense(
                "qwen3_next",
                "Qwen3NextForCausalLM",
                **sizes(48, 2048, 5120, 16, 2, 151936, 262144),
                head_dim=256,
                full_attention_interval=4,
                linear_num_key_heads=16,
                linear_num_value_heads=32,
                linear_key_head_dim=128,
                linear_value_head_dim=128,
                linear_conv_kernel_dim=4,
                num_experts=512,
                num_experts_per_tok=10,
                moe_intermediate_size=512,
            ),
            81_324_862_720 * BF16,
            81_324_862_720 * BF16,
            2 * 2 * 256 * 12 * 2,
            262144,
            36 * (3 * (4096 + 2 * 2048) * BF16 + 32 * 128 * 128 * FP32),
        ),
        Family(
            "Nemotron-H 8B",
            dense(
                "nemotron_h",
                "NemotronHForCausalLM",
                **sizes(52, 4096, 21504, 32, 8, 131072, 8192),
                head_dim=128,
                hybrid_override_pattern="M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
                mamba_num_heads=128,
                mamba_head_dim=64,
                n_groups=8,
                ssm_state_size=128,
                conv_kernel=4,
            ),
            8_101_326_848 * BF16,
            8_101_326_848 * BF16,
            2 * 8 * 128 * 4 * 2,
            8192,
            24 * (3 * (128 * 64 + 2 * 8 * 128) * BF16 + 128 * 64 * 128 * FP32),
        ),
        Family(
            "Falcon-H1 7B: each layer keeps both",
            dense(
                "falcon_h1",
                "FalconH1ForCausalLM",
                **sizes(44, 3072, 12288, 12, 2, 130049, 262144),
                head_dim=128,
                mamba_d_ssm=3072,
                mamba_n_heads=24,
                mamba_d_head=128,
                mamba_n_groups=1,
                mamba_d_state=256,
                mamba_d_conv=4,
            ),
            7_585_654_976 * BF16,
            7_585_654_976 * BF16,
            2 * 2 * 128 * 44 * 2,
            262144,
            44 * (3 * (3072 + 2 * 256) * BF16 + 24 * 128 * 256 * FP32),
        ),
        Family(
            "Granite 4.0 H Tiny",
            dense(
                "granitemoehybrid",
                "GraniteMoeHybridForCausalLM",
                **sizes(40, 1536, 512, 12, 4, 100352, 131072),
                layer_types=granite,
                mamba_n_heads=48,
                mamba_d_head=64,
                mamba_n_groups=1,
                mamba_d_state=128,
                mamba_d_conv=4,
                mamba_expand=2,
                num_local_experts=64,
                num_experts_per_tok=6,
            ),
            6_939_037_248 * BF16,
            6_939_037_248 * BF16,
            2 * 4 * 128 * 4 * 2,
            131072,
            36 * (3 * (3072 + 2 * 128) * BF16 + 48 * 64 * 128 * FP32),
        ),
        Family(
            "LFM2 1.2B: short convolutions",
            dense(
                "lfm2",
                "Lfm2ForCausalLM",
                **sizes(16, 2048, 12288, 32, 8, 65536, 128000),
                layer_types=lfm,
                conv_L_cache=3,
            ),
            1_170_340_608 * BF16,
            1_170_340_608 * BF16,
            2 * 8 * 64 * 6 * 2,
            128000,
            10 * (2 * 2048 * BF16),
        ),
    ]


def _encoders() -> list[Family]:
    xlmr = {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "torch_dtype": "float32",
        **without(sizes(24, 1024, 4096, 16, 0, 250002, 8194), "num_key_value_heads"),
    }
    return [
        Family(
            "bge-m3",
            xlmr,
            567_754_752 * FP32,
            567_754_752 * BF16,
            2 * 16 * 64 * 24 * 2,
            8194,
        ),
        Family(
            "multilingual-e5-large",
            xlmr | {"max_position_embeddings": 514},
            559_890_432 * FP32,
            559_890_432 * BF16,
            2 * 16 * 64 * 24 * 2,
            514,
        ),
        Family(
            "ModernBERT base",
            {
                "architectures": ["ModernBertForMaskedLM"],
                "model_type": "modernbert",
                "torch_dtype": "float32",
                **without(sizes(22, 768, 1152, 12, 0, 50368, 8192), "num_key_value_heads"),
            },
            149_655_232 * FP32,
            149_655_232 * BF16,
            2 * 12 * 64 * 22 * 2,
            8192,
        ),
        Family(
            "Qwen3 Embedding 0.6B",
            dense(
                "qwen3",
                "Qwen3ForCausalLM",
                **sizes(28, 1024, 3072, 16, 8, 151669, 32768),
                head_dim=128,
                tie_word_embeddings=True,
            ),
            595_776_512 * BF16,
            595_776_512 * BF16,
            2 * 8 * 128 * 28 * 2,
            32768,
        ),
    ]


FAMILIES = (*_plain(), *_mixed(), *_quantized(), *_seeing(), *_stateful(), *_encoders())
