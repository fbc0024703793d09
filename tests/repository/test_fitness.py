from __future__ import annotations

from typing import Any

import pytest

from router.errors import UnsupportedModel
from router.repository.conditions import Conditions, Machine, gpus
from router.repository.fitness import Layout, check_fitness
from router.repository.tokenizer_fitness import PACKAGES
from tests.repository import layout as layouts
from tests.repository.layout import NAMES
from tests.servable import LLAMA

TRUSTED = ("--trust-remote-code",)
OWN_CODE = {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}
OWN_TOKENIZER = {"tokenizer_class": "XTokenizer", "auto_map": {"AutoTokenizer": ["t.X", None]}}
CUSTOM = {"architectures": ["XForCausalLM"], "model_type": "x", "auto_map": OWN_CODE}
ON_CPU = Conditions(cpu=True)
# SGLang requires the others, directly or not.
NOT_IN_IMAGE = tuple(
    {*PACKAGES} - {"sentencepiece", "google.protobuf", "tiktoken", "mistral_common"}
)


def refusal(
    config: dict[str, Any] | None = None,
    *flags: str,
    on: Conditions | None = None,
    files: tuple[str, ...] = ("tokenizer.json",),
    tokenizer: dict[str, Any] | None = None,
    path: str = "/cache/models--org--name/snapshots/x",
    quantization: dict[str, Any] | None = None,
) -> str:
    """The reason why the model is refused; "" if it is served."""
    model = Layout(path, files, config, tokenizer or {}, quantization or {})
    try:
        check_fitness(model, on or Conditions(flags=flags))
    except UnsupportedModel as error:
        return error.message
    return ""


def llama(**more: object) -> dict[str, Any]:
    return {**LLAMA, **more}


def quantized(method: str, **more: object) -> dict[str, Any]:
    return llama(quantization_config={"quant_method": method, **more})


# --- architectures and model types ---------------------------------------------------


def test_a_model_of_sglangs_own_is_served() -> None:
    assert refusal(llama()) == ""


def test_an_architecture_that_nothing_knows_is_refused_with_its_name() -> None:
    said = refusal(llama(architectures=["XForCausalLM"]))
    assert "SGLang 0.5.23 does not support the architecture `XForCausalLM`" in said
    assert "Use another model" in said


def test_one_known_architecture_among_several_is_enough() -> None:
    assert refusal(llama(architectures=["XForCausalLM", "LlamaForCausalLM"])) == ""


@pytest.mark.parametrize("name", ["SmolLM3ForCausalLM", "GPTNeoXForCausalLM", "AlbertModel"])
def test_an_architecture_that_transformers_runs_for_sglang_is_served(name: str) -> None:
    assert refusal(llama(architectures=[name])) == ""


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "BloomForCausalLM"])
def test_an_architecture_that_transformers_can_not_run_for_sglang_is_refused(name: str) -> None:
    assert f"`{name}`" in refusal(llama(architectures=[name]))


@pytest.mark.parametrize("named", [None, [], "LlamaForCausalLM", [1, None], {}])
def test_a_configuration_without_architectures_is_refused(named: object) -> None:
    assert "lists no `architectures`" in refusal(llama(architectures=named))


def test_a_configuration_that_sglang_gives_architectures_to_needs_none() -> None:
    assert refusal({"model_type": "deepseek_vl_v2"}) == ""
    assert refusal({"d_model": 8, "ssm_cfg": {}, "n_layer": 2}) == ""
    assert refusal({"architectures": ["LongcatCausalLM"]}) == ""


def test_a_configuration_without_a_type_is_refused() -> None:
    assert "no `model_type`" in refusal({"architectures": ["LlamaForCausalLM"]})


@pytest.mark.parametrize("kind", ["x", 5, [["llama"]]])
def test_a_type_that_nothing_knows_is_refused(kind: object) -> None:
    assert "does not support the model type" in refusal(llama(model_type=kind))


def test_a_repository_without_a_configuration_is_refused() -> None:
    assert "no config.json" in refusal(None)
    mistral = "/cache/models--mistralai--Mistral-Large-3/snapshots/x"
    files = ("params.json", "tekken.json")
    assert "no config.json" in refusal(None, files=files)
    assert refusal(None, files=files, path=mistral) == ""


def test_a_refusal_repeats_no_more_than_a_plain_name() -> None:
    said = refusal(llama(architectures=["X\n\x1b[31m<b>" + "y" * 10_000]))
    assert said.isprintable()
    assert len(said) < 300
    assert "<b>" not in said


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_of_a_real_family_is_as_fit_as_it_says(name: str) -> None:
    layout = layouts.Layout.read(name)
    if "refused" in layout.entry:
        pytest.skip("refused by its files")
    documents = layout.entry.get("documents", {})
    said = refusal(
        documents.get("config.json"),
        files=tuple(file for file in layout.sizes("weights", "small") if "/" not in file),
        tokenizer=documents.get("tokenizer_config.json"),
        path=layout.repo,
        on=Conditions(lacks=NOT_IN_IMAGE),
    )
    expected = layout.entry.get("unfit", "")
    assert (expected in said) if expected else said == ""


# --- code in the repository -----------------------------------------------------------


def test_code_of_the_repository_needs_the_operators_permission() -> None:
    assert "needs code of its own" in refusal(CUSTOM)
    assert "--trust-remote-code" in refusal(CUSTOM)
    assert refusal(CUSTOM, *TRUSTED) == ""


@pytest.mark.parametrize("role", ["AutoModelForCausalLM", "AutoModelForImageTextToText", ""])
def test_code_that_sglang_does_not_ask_for_makes_no_model_run(role: str) -> None:
    """Like Phi-3-vision, Molmo and Ovis."""
    code = {"AutoConfig": "configuration_x.XConfig", **({role: "modeling_x.X"} if role else {})}
    for config in ({**CUSTOM, "auto_map": code}, llama(architectures=["X"], auto_map=code)):
        for flags in ((), TRUSTED):
            said = refusal(config, *flags)
            assert "does not support the architecture `X" in said
            assert "--trust-remote-code" not in said
        assert refusal(config, *TRUSTED, "--model-impl=transformers") == ""


def test_code_for_the_configuration_is_enough_where_there_is_code_for_the_model() -> None:
    code = {"AutoConfig": "configuration_x.XConfig"}
    known = llama(model_type="x", auto_map=code)
    assert "needs code of its own" in refusal(known)
    assert refusal(known, *TRUSTED) == ""
    assert refusal({"model_type": "x", "auto_map": code}, *TRUSTED) == ""  # it may name one


@pytest.mark.parametrize("role", ["AutoModel", "AutoModelForSequenceClassification"])
def test_an_encoder_with_code_of_its_own_is_another_one(role: str) -> None:
    """Like jina-reranker-v2: SGLang would load its weights into its own XLM-R."""
    config = {
        **llama(
            architectures=["XLMRobertaForSequenceClassification"], model_type="xlm-roberta"
        ),
        "auto_map": {role: "modeling_x.X"},
    }
    for flags in ((), TRUSTED):
        assert "runs only its own" in refusal(config, *flags)
    assert refusal({**config, "auto_map": {"AutoConfig": "c.X"}}) == ""
    assert refusal(config, "--model-impl=transformers") == ""


def test_code_that_is_not_needed_needs_no_permission() -> None:
    assert refusal(llama(auto_map=OWN_CODE)) == ""
    assert (
        refusal(llama(), tokenizer={**OWN_TOKENIZER, "tokenizer_class": "LlamaTokenizer"}) == ""
    )


def test_code_for_an_architecture_needs_permission_and_must_have_a_model() -> None:
    unknown = llama(architectures=["XForCausalLM"])
    only_model = unknown | {"auto_map": {"AutoModel": "x.X"}}
    assert "brings code of its own" in refusal(only_model)
    assert refusal(only_model, *TRUSTED) == ""
    headless = unknown | {"auto_map": {"AutoModelForCausalLM": "x.X"}}
    assert "does not support" in refusal(headless, *TRUSTED)


def test_a_tokenizer_of_its_own_needs_permission() -> None:
    assert "tokenizer needs code" in refusal(llama(), tokenizer=OWN_TOKENIZER)
    assert refusal(llama(), *TRUSTED, tokenizer=OWN_TOKENIZER) == ""
    # transformers has one for this model type.
    assert refusal(llama(model_type="qwen2"), tokenizer=OWN_TOKENIZER) == ""


# --- tokenizers ---------------------------------------------------------------------


def test_a_model_without_a_tokenizer_is_refused() -> None:
    for files in ((), ("tokenizer_config.json", "special_tokens_map.json", "config.json")):
        assert "has no tokenizer" in refusal(llama(), files=files)


@pytest.mark.parametrize(
    "file",
    [
        *("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json"),
        *(
            "spiece.model",
            "sentencepiece.bpe.model",
            "qwen.tiktoken",
            "merges.txt",
            "source.spm",
        ),
        *("tokenizer.4.0.0.json", "tokenizer.model.v3", "bpe.codes", "entity_vocab.json"),
    ],
)
def test_a_vocabulary_of_any_kind_is_a_tokenizer(file: str) -> None:
    assert refusal(llama(), files=(file,)) == ""


def test_a_tokenizer_that_reads_bytes_needs_no_vocabulary() -> None:
    assert refusal(llama(), files=(), tokenizer={"tokenizer_class": "ByT5Tokenizer"}) == ""


# --- positions ----------------------------------------------------------------------


def encoder(name: str, **more: object) -> dict[str, Any]:
    kind = "xlm-roberta" if name.startswith("XLM") else "bert"
    return {"architectures": [name], "model_type": kind, **more}


@pytest.mark.parametrize(
    ("name", "positions"),
    [
        ("XLMRobertaForSequenceClassification", "rotary"),
        ("XLMRobertaModel", "relative_key"),
        ("BertModel", "alibi"),
        ("BertForSequenceClassification", "relative_key_query"),
    ],
)
def test_an_encoder_whose_positions_sglang_can_not_compute_is_refused(
    name: str, positions: str
) -> None:
    said = refusal(encoder(name, position_embedding_type=positions))
    assert f"uses `{positions}` position embeddings" in said
    assert refusal(encoder(name, position_embedding_type="absolute")) == ""
    assert refusal(encoder(name)) == ""


def test_a_decoder_may_tell_positions_as_it_likes() -> None:
    assert refusal(llama(position_embedding_type="rope")) == ""


# --- quantization -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "capability", "needed"),
    [
        ("fp8", 75, "8.0"),
        ("awq", 70, "7.5"),
        ("gptq", 75, "8.0"),
        ("GPTQ", 75, "8.0"),
        ("compressed-tensors", 61, "7.0"),
    ],
)
def test_a_quantization_that_this_gpu_can_not_compute_is_refused(
    method: str, capability: int, needed: str
) -> None:
    said = refusal(quantized(method), on=Conditions(capability=capability))
    assert f"compute capability {needed}" in said
    assert refusal(quantized(method), on=Conditions(capability=90)) == ""
    assert refusal(quantized(method)) == "", "a GPU that is not known refuses nothing"


def test_a_quantization_that_a_cpu_can_not_compute_is_refused() -> None:
    assert "CPU" in refusal(quantized("bitsandbytes"), on=ON_CPU)
    assert refusal(quantized("fp8"), on=ON_CPU) == ""
    assert refusal(quantized("gptq"), on=ON_CPU) == ""


@pytest.mark.parametrize(
    "config",
    [
        quantized("hqq"),
        llama(compression_config={"quant_method": "hqq"}),
        llama(text_config={"quantization_config": {"quant_method": "hqq"}}),
    ],
)
def test_a_quantization_that_sglang_does_not_know_is_refused(config: dict[str, Any]) -> None:
    assert "does not support the quantization `hqq`" in refusal(config)


def test_a_quantization_that_does_not_tell_its_method_is_the_engines_matter() -> None:
    assert refusal(quantized("modelopt", quant_algo="MIXED_PRECISION"), on=ON_CPU) == ""
    assert refusal(llama(quantization_config={"bits": 4}), on=ON_CPU) == ""
    assert refusal(llama(quantization_config="4 bits"), on=ON_CPU) == ""
    assert (
        refusal(quantized("hqq"), files=("tokenizer.json", "quant_model_description.json"))
        == ""
    )


@pytest.mark.parametrize(
    ("algorithm", "capability", "needed"),
    [
        ("FP8", 80, "8.9"),
        ("NVFP4", 75, "8.0"),
        ("W4A16_NVFP4", 75, "8.0"),
        ("MXFP8", 90, "10.0"),
    ],
)
def test_an_algorithm_of_modelopt_that_this_gpu_can_not_compute_is_refused(
    algorithm: str, capability: int, needed: str
) -> None:
    older = Conditions(capability=capability)
    inside = quantized("modelopt", quant_algo=algorithm)
    beside = {"hf_quant_config.json": {"quantization": {"quant_algo": algorithm}}}
    flat = {"hf_quant_config.json": {"quant_algo": algorithm}}
    for said in (
        refusal(inside, on=older),
        refusal(llama(quantization_config={"quant_algo": algorithm}), on=older),
        refusal(llama(), on=older, quantization=beside),
        refusal(llama(), on=older, quantization=flat),
    ):
        assert f"compute capability {needed}" in said
    assert refusal(inside, on=Conditions(capability=100)) == ""
    assert refusal(llama(), on=Conditions(capability=100), quantization=beside) == ""


def test_config_json_counts_before_the_file_beside_it() -> None:
    beside = {"hf_quant_config.json": {"quantization": {"quant_algo": "FP8"}}}
    older = Conditions(capability=80)
    assert refusal(quantized("compressed-tensors"), on=older, quantization=beside) == ""


@pytest.mark.parametrize("algorithm", [None, "INT4_AWQ", 8, ["FP8"]])
def test_an_algorithm_that_sglang_leaves_out_is_no_quantization(algorithm: object) -> None:
    beside = {"hf_quant_config.json": {"quantization": {"quant_algo": algorithm}}}
    assert refusal(llama(), on=ON_CPU, quantization=beside) == ""
    assert refusal(llama(), on=ON_CPU, quantization={"hf_quant_config.json": {}}) == ""


@pytest.mark.parametrize(
    "config",
    [
        llama(quantization={"group_size": 64, "bits": 4}),
        llama(quantization_config={"group_size": 64, "bits": 4}),
        llama(quantization={"group_size": 64, "bits": 8, "lm_head": False}),
    ],
)
def test_a_quantization_for_apples_machines_is_refused(config: dict[str, Any]) -> None:
    assert "quantized for Apple's MLX" in refusal(config)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 128, "zero_point": True}),
    ],
)
def test_quantized_weights_that_config_json_does_not_mention_are_refused(
    name: str, content: dict[str, Any]
) -> None:
    said = refusal(llama(), quantization={name: content})
    assert f"The model's {name} describes quantized weights" in said
    assert "--quantization" in said
    assert refusal(llama(), "--quantization=awq", quantization={name: content}) == ""
    assert refusal(quantized("awq"), quantization={name: content}) == ""


def test_a_leftover_of_a_quantization_that_packs_nothing_refuses_nothing() -> None:
    for content in ({}, {"bits": 16}, {"bits": "4"}, {"bits": None}):
        assert refusal(llama(), quantization={"quantize_config.json": content}) == ""


# --- the effect of the operator's flags -----------------------------------------------


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        (None, "--load-format=gguf"),
        (llama(architectures=["XForCausalLM"]), "--model-impl=transformers"),
        (llama(architectures=["XForCausalLM"]), "--json-model-override-args={}"),
        (llama(architectures=None), "--json_model_override_args={}"),
        (quantized("hqq"), "--quantization=fp8"),
        (quantized("hqq"), "--quant=fp8"),
        (CUSTOM, "--trust-remote-code"),
    ],
)
def test_a_flag_that_changes_what_sglang_reads_ends_the_check(
    config: dict[str, Any] | None, flag: str
) -> None:
    assert refusal(config) != ""
    assert refusal(config, flag) == ""


@pytest.mark.parametrize(
    "flag", ["--skip-tokenizer-init", "--tokenizer-path=/t", "--tokenizer-p"]
)
def test_a_flag_for_another_tokenizer_ends_its_check(flag: str) -> None:
    assert refusal(llama(), flag, files=()) == ""


def test_another_sglang_may_know_more() -> None:
    other = Conditions(plain=False)
    for config in (llama(architectures=["X"]), llama(model_type="x"), quantized("hqq")):
        assert refusal(config, on=other) == ""


# --- several GPUs -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), 1),
        (("--tensor-parallel-size=2",), 2),
        (("--tp-size", "4"), 4),
        (("--tp", "8"), 8),
        (("--tp_size=2", "--pp-size", "2"), 4),
        (("--pipeline-parallel-size=2",), 2),
        (("--tensor-parallel-size=2", "--tp=4"), 4),
        (("--tp", "many"), 1),
        (("--tp-size=0",), 1),
        (("--tp-size",), 1),
        (("--pp-async-batch-depth", "4", "--dp-size", "2"), 1),
    ],
)
def test_the_gpus_of_an_engine_are_those_that_share_the_weights(
    flags: tuple[str, ...], expected: int
) -> None:
    assert gpus(flags) == expected


def test_the_conditions_are_the_machines_and_the_flags() -> None:
    machine = Machine(memory=80, capability=90, plain=False)
    expected = Conditions(capability=90, plain=False, flags=("--tp=2",), memory=80, claim=20)
    assert Conditions.on(machine, ("--tp=2",), claim=20) == expected
