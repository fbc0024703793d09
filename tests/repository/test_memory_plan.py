from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ModelTooLarge
from router.models import MemoryPlan
from router.repository.conditions import Conditions
from router.repository.memory_plan import Files, check_plan, most_stored, plan_of, smallest
from router.repository.tensor_headers import Tensor
from tests.repository.model_families import (
    BF16,
    FAMILIES,
    FP32,
    LLAMA,
    LLAMA_8B,
    Family,
    without,
)

GIB = 1 << 30
TOKEN = 2 * 8 * 128 * 32 * BF16  # Llama 3.1 8B
WORDS = 128256 * 4096
ON_80 = Conditions(memory=80 * GIB)


def plan(config: dict[str, Any], stored: int, *flags: str, **conditions: Any) -> MemoryPlan:
    return plan_of(Files(config, stored), Conditions(flags=flags, **conditions))


def llama(*flags: str, **conditions: Any) -> MemoryPlan:
    return plan(LLAMA, LLAMA_8B * BF16, *flags, **conditions)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_public_model_takes_what_its_card_says(family: Family) -> None:
    found = plan(family.config, family.stored, "--disable-radix-cache")
    assert found.weights == family.loaded
    assert found.token == -(-family.token // 1)
    assert found.sequence == family.sequence
    assert found.context == family.context


# --- several GPUs -----------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--tp-size=2", "--tensor-parallel-size=2", "--tp=2"])
def test_two_gpus_share_weights_and_cache(flag: str) -> None:
    found = llama(flag)
    assert found.weights == LLAMA_8B
    assert found.token == TOKEN // 2


def test_where_gpus_outnumber_heads_each_gpu_has_one() -> None:
    found = llama("--tp-size=16")
    assert found.token == 2 * 1 * 128 * 32 * BF16
    half_a_head = 4096 * (128 + 128) * BF16 * 32 // 2
    assert found.weights == LLAMA_8B * BF16 // 16 + half_a_head


def test_all_gpus_have_the_whole_of_a_latent_cache() -> None:
    (lite,) = (each for each in FAMILIES if each.name == "DeepSeek V2 Lite")
    alone = plan(lite.config, lite.stored)
    assert plan(lite.config, lite.stored, "--tp-size=8").token == alone.token


def test_each_gpu_has_all_that_makes_a_latent_vector() -> None:
    (lite,) = (each for each in FAMILIES if each.name == "DeepSeek V2 Lite")
    repeated = 27 * 2048 * (512 + 64) * BF16 * 7 // 8
    assert plan(lite.config, lite.stored, "--tp-size=8").weights == lite.stored // 8 + repeated


def test_a_model_of_states_alone_has_no_cache() -> None:
    mamba = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "num_hidden_layers": 8,
    }
    mamba |= {"hidden_size": 64, "intermediate_size": 128, "state_size": 16, "conv_kernel": 4}
    found = plan(mamba, 1, "--disable-radix-cache")
    assert found.token == 0
    assert found.sequence == 8 * (3 * 128 * BF16 + 128 * 16 * FP32)


def test_copies_of_the_attention_have_the_heads_of_fewer_gpus() -> None:
    found = llama("--tp-size=8", "--dp-size=4", "--enable-dp-attention")
    assert found.token == TOKEN // 2


def test_a_stage_has_its_share_of_the_layers_and_the_words_of_one_end() -> None:
    found = llama("--pp-size=2")
    assert found.token == TOKEN // 2
    body = LLAMA_8B * BF16 - 2 * WORDS * BF16
    assert found.weights == body // 2 + WORDS * BF16


# --- flags --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "token"),
    [
        (("--kv-cache-dtype", "fp8_e5m2"), TOKEN // 2),
        (("--kv-cache-dtype=fp8_e4m3",), TOKEN // 2),
        (("--kv-cache-dtype", "mxfp8"), TOKEN // 2 + TOKEN // 2 // 32),
        (("--kv-cache-dtype", "bf16", "--dtype", "float32"), TOKEN),
        (("--dtype", "float32"), 2 * TOKEN),
        (("--kv-cache-dtype", "auto"), TOKEN),
    ],
)
def test_the_number_format_of_the_cache(flags: tuple[str, ...], token: int) -> None:
    assert llama(*flags).token == token


@pytest.mark.parametrize(
    "scheme", [{"kv_cache_quant_algo": "FP8"}, {"kv_cache_quant_algo": "fp8"}]
)
def test_a_model_that_was_made_for_a_cache_of_eight_bits_has_it(scheme: dict[str, Any]) -> None:
    beside = {"hf_quant_config.json": {"quantization": {"quant_algo": "FP8", **scheme}}}
    files = Files(LLAMA, LLAMA_8B, quantization=beside)
    assert plan_of(files, Conditions()).token == TOKEN // 2


def test_in_fp32_the_weights_are_twice_as_large_as_their_files() -> None:
    assert llama("--dtype=float32").weights == LLAMA_8B * FP32


def test_fp8_while_loading_halves_the_matrices_and_needs_room_to_do_so() -> None:
    found = llama("--quantization", "fp8")
    words = 2 * WORDS
    assert found.weights == words * BF16 + (LLAMA_8B - words)
    assert found.weights + found.overhead >= LLAMA_8B * BF16


def test_files_that_are_quantized_are_not_quantized_again() -> None:
    about = {"quantization_config": {"quant_method": "fp8"}}
    assert plan(LLAMA | about, LLAMA_8B, "--quantization=fp8").weights == LLAMA_8B


def test_a_shorter_context_counts_and_a_longer_one_does_not() -> None:
    assert llama("--context-length", "8192").context == 8192
    assert llama("--context-length=1000000").context == 131072


def test_what_stays_in_the_hosts_memory_takes_none_of_the_gpus() -> None:
    assert llama("--cpu-offload-gb", "4").weights == LLAMA_8B * BF16 - 4 * GIB


def test_a_state_has_copies_for_the_prefix_cache() -> None:
    (qwen,) = (each for each in FAMILIES if each.name.startswith("Qwen3-Next"))
    assert plan(qwen.config, qwen.stored).sequence == 5 * qwen.sequence
    assert plan(qwen.config, qwen.stored, cpu=True).sequence == 3 * qwen.sequence


def test_windows_without_a_cache_of_their_own_cost_as_much_as_any_layer() -> None:
    (oss,) = (each for each in FAMILIES if each.name.startswith("GPT-OSS"))
    one = 2 * 8 * 64 * BF16
    assert plan(oss.config, oss.stored, "--disable-hybrid-swa-memory").token == 24 * one
    share = plan(oss.config, oss.stored, "--swa-full-tokens-ratio=0.5").token
    assert share == 12 * one + 12 * one // 2


# --- the tensors of files on disk --------------------------------------------------------


def tensors(
    *rows: tuple[str, str, int], config: dict[str, Any] | None = None, **more: Any
) -> int:
    """The weights of `LLAMA` with these tensors: name, number format, bytes."""
    files = Files(LLAMA | (config or {}), 10**12, tensors=tuple(Tensor(*row) for row in rows))
    return plan_of(files, Conditions(**more)).weights


def test_each_tensor_counts_as_it_is_loaded() -> None:
    rows = (("a.weight", "BF16", 200), ("b.weight", "F32", 400), ("c.weight", "F16", 200))
    assert tensors(*rows) == 200 + 200 + 200
    assert tensors(*rows, flags=("--dtype=float",)) == 400 + 400 + 400


def test_packed_weights_and_their_scales_stay_as_they_are() -> None:
    about = {"quantization_config": {"quant_method": "awq"}}
    rows = (("q.qweight", "I32", 400), ("q.scales", "F32", 40), ("norm", "BF16", 20))
    assert tensors(*rows, config=about) == 460


def test_a_tied_matrix_that_is_stored_twice_is_loaded_once() -> None:
    rows = (("model.embed_tokens.weight", "BF16", 500), ("lm_head.weight", "BF16", 500))
    assert tensors(*rows) == 1000
    assert tensors(*rows, config={"tie_word_embeddings": True}) == 500


@pytest.mark.parametrize("name", ["model.layers.32.mlp.weight", "mtp.layers.0.weight"])
def test_what_guesses_further_tokens_is_loaded_only_if_it_is_to(name: str) -> None:
    rows = (("model.layers.31.mlp.weight", "BF16", 100), (name, "BF16", 50))
    config = {"num_nextn_predict_layers": 1}
    assert tensors(*rows, config=config) == 100
    drafts = ("--speculative-algorithm", "EAGLE")
    assert tensors(*rows, config=config, flags=drafts) == 150


# --- overhead -----------------------------------------------------------------------------


def test_the_overhead_is_no_more_than_sglangs_own_estimate_and_a_context() -> None:
    reserve = (512 + 2048 * 1.5 + 256 * 2 + 42 * 8) * (1 << 20)
    scores = 256 * 256000 * 10
    for family in FAMILIES:
        if "vision_config" in family.config or "kv_lora_rank" in family.config:
            continue
        found = plan(family.config, family.stored, memory=80 * GIB).overhead
        assert GIB < found <= reserve + GIB // 2 + scores, family.name


def test_a_longer_chunk_a_larger_gpu_and_graphs_cost_more() -> None:
    usual = llama(memory=24 * GIB).overhead
    assert llama("--chunked-prefill-size", "8192", memory=24 * GIB).overhead > usual
    assert llama(memory=80 * GIB).overhead > usual
    assert llama("--disable-cuda-graph", memory=24 * GIB).overhead < usual
    assert llama("--tp-size=8", memory=24 * GIB).overhead > GIB


def test_a_model_that_sees_takes_more() -> None:
    vision = {"vision_config": {"hidden_size": 1280, "intermediate_size": 3420}}
    assert plan(LLAMA | vision, 1).overhead > llama().overhead


# --- what does not fit ----------------------------------------------------------------------


def test_a_model_that_fits_is_not_refused() -> None:
    check_plan(llama(memory=24 * GIB), Conditions(memory=24 * GIB))
    check_plan(llama(), Conditions())


def test_a_model_that_is_too_large_is_refused_with_the_numbers() -> None:
    on = Conditions(memory=16 * GIB)
    found = llama(memory=16 * GIB)
    with pytest.raises(ModelTooLarge) as refusal:
        check_plan(found, on)
    for size in (smallest(found), LLAMA_8B * BF16, TOKEN * 4096, found.overhead, 16 * GIB):
        assert f"{size / GIB:.1f} GiB" in refusal.value.message
    assert "4,096 tokens" in refusal.value.message


def test_gpus_that_share_a_model_hold_it_together() -> None:
    on = Conditions(flags=("--tp-size=2",), memory=16 * GIB)
    check_plan(plan_of(Files(LLAMA, LLAMA_8B * BF16), on), on)
    small = Conditions(flags=("--tp-size=2",), memory=8 * GIB)
    with pytest.raises(ModelTooLarge, match="on each of 2 GPUs"):
        check_plan(plan_of(Files(LLAMA, LLAMA_8B * BF16), small), small)


def test_a_cache_is_not_asked_to_be_longer_than_the_context() -> None:
    found = MemoryPlan(weights=10, token=1, overhead=5, context=100, sequence=7)
    assert smallest(found) == 10 + 5 + 100 + 7


def test_memory_that_the_operator_grants_must_hold_the_weights() -> None:
    with pytest.raises(
        ModelTooLarge, match=r"grants it 4\.0 GiB .* weights alone take 15\.0 GiB"
    ):
        check_plan(llama(), Conditions(claim=4 * GIB))
    check_plan(llama(), Conditions(claim=16 * GIB))


def test_what_is_too_large_whatever_it_holds() -> None:
    assert most_stored(Conditions(), 1) is None
    assert most_stored(Conditions(memory=GIB), 1) == 2 * GIB
    assert most_stored(Conditions(memory=GIB), 4) == 8 * GIB
    bits4 = ("--quantization", "bitsandbytes")
    assert most_stored(Conditions(memory=GIB, flags=bits4), 1) == 8 * GIB
    assert most_stored(Conditions(memory=GIB, flags=("--offload-group-size=2",)), 1) is None


def test_nobody_knows_what_an_engine_leaves_in_the_hosts_memory() -> None:
    check_plan(llama(), Conditions(flags=("--offload-group-size", "4"), memory=GIB))


# --- any configuration -------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(), st.integers(1, 200_000), st.floats(), st.booleans(), st.none(), st.text()
)
JSON = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
KEYS = sorted(
    {key for family in FAMILIES for key in family.config}
    | {
        "text_config",
        "thinker_config",
        "llm_config",
        "hybrid_override_pattern",
        "block_configs",
    }
    | {
        "attn_config",
        "compress_ratios",
        "index_topk",
        "layer_group_size",
        "attention_other_setting",
    }
    | {"is_hybrid_swa", "hybrid_layer_pattern", "swa_num_key_value_heads", "linear_attn_config"}
)
ARCHITECTURES = sorted({family.config["architectures"][0] for family in FAMILIES})
CONFIGS = st.builds(
    lambda base, names, more: {**base, **({"architectures": names} if names else {}), **more},
    st.sampled_from([{}, *(family.config for family in FAMILIES)]),
    st.lists(
        st.sampled_from(
            [*ARCHITECTURES, "DeepseekV4ForCausalLM", "InklingForConditionalGeneration"]
        ),
        max_size=2,
    ),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6),
)
WORDS_OF_FLAGS = (
    *("--tp-size", "--pp-size=7", "--dtype", "float", "--context-length", "--quantization=fp8"),
    *("9" * 30, "-1", "--kv-cache-dtype", "fp8", "--cpu-offload-gb=3", "--dp-size", "8"),
    "\N{ARABIC-INDIC DIGIT THREE}",
)
FLAGS = st.lists(st.sampled_from(WORDS_OF_FLAGS), max_size=6)


@given(CONFIGS, st.integers(0, 1 << 50), FLAGS, st.none() | st.integers(0, 1 << 45))
def test_a_plan_is_made_of_any_configuration(
    config: dict[str, Any], stored: int, flags: list[str], memory: int | None
) -> None:
    on = Conditions(flags=tuple(flags), memory=memory)
    found = plan_of(Files(config, stored), on)
    for number in (found.weights, found.token, found.overhead, found.context, found.sequence):
        assert type(number) is int
        assert 0 <= number <= 1 << 60
    assert found.context >= 1
    assert found.weights <= 2 * stored + (1 << 40)


@given(CONFIGS, FLAGS)
def test_more_bytes_of_weights_are_never_a_smaller_plan(
    config: dict[str, Any], flags: list[str]
) -> None:
    on = Conditions(flags=tuple(flags))
    quantized = config | {"quantization_config": {"quant_method": "awq"}}
    sizes = [plan_of(Files(quantized, stored), on).weights for stored in (0, 10**9, 10**12)]
    assert sizes == sorted(sizes)


def test_a_configuration_that_tells_nothing_gives_a_plan_of_the_weights() -> None:
    found = plan({}, 10 * GIB)
    assert (found.weights, found.token, found.sequence) == (10 * GIB, 512 << 10, 0)
    assert found.context == 2048
    assert found.overhead > GIB


def test_long_lists_take_no_long_time() -> None:
    """Not quadratic: a million items of each list are read at most once."""
    many = ["sliding_attention", "full_attention"] * 500_000
    config = without(LLAMA, "architectures") | {
        "architectures": ["GptOssForCausalLM"],
        "layer_types": many,
        "hybrid_override_pattern": None,
    }
    assert plan(config, 1).token == -(-(16 + 16 * 0.8) * 2 * 8 * 128 * BF16 // 1)
