from __future__ import annotations

from typing import Any

import pytest

from router.models import Task
from router.repository.engine_flags import ModelFlags, engine_flags

WHOLE_TEXTS = ("--disable-radix-cache", "--chunked-prefill-size", "-1")
ABSOLUTE = {"position_embedding_type": "absolute"}


def config(architecture: str, **others: Any) -> dict[str, Any]:
    return {"architectures": [architecture], "max_position_embeddings": 512, **others}


def option(flags: tuple[str, ...], name: str) -> str | None:
    return flags[flags.index(name) + 1] if name in flags else None


@pytest.mark.parametrize(
    "architecture",
    [
        *("BertModel", "BertForSequenceClassification"),
        *("XLMRobertaModel", "XLMRobertaForSequenceClassification"),
        "Lfm2BidirectionalModel",
    ],
)
def test_an_encoder_sees_each_text_whole(architecture: str) -> None:
    found = engine_flags(config(architecture), Task.EMBED)
    assert found.needed == WHOLE_TEXTS
    assert option(found.usual, "--max-prefill-tokens") == "2048"


@pytest.mark.parametrize("sees_ahead", [True, False])
def test_a_gemma_sees_each_text_whole_if_its_attention_sees_ahead(sees_ahead: bool) -> None:
    gemma = config(
        "Gemma3TextModel", model_type="gemma3_text", use_bidirectional_attention=sees_ahead
    )
    assert (engine_flags(gemma, Task.EMBED).needed == WHOLE_TEXTS) is sees_ahead


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen3Model", "Unknown"])
def test_a_model_that_reads_from_left_to_right_needs_nothing(architecture: str) -> None:
    assert engine_flags(config(architecture), Task.EMBED) == ModelFlags()


def test_a_roberta_takes_no_text_beyond_its_table_of_positions() -> None:
    roberta = config("XLMRobertaModel", pad_token_id=1) | {"max_position_embeddings": 514}
    usual = engine_flags(roberta, Task.EMBED).usual
    assert option(usual, "--context-length") == "513"  # SGLang accepts one token less


def test_a_roberta_that_names_no_padding_has_the_usual_one() -> None:
    roberta = config("XLMRobertaModel") | {"max_position_embeddings": 514}
    assert option(engine_flags(roberta, Task.EMBED).usual, "--context-length") == "513"


def test_a_shorter_context_of_a_robertas_own_stays() -> None:
    roberta = config("XLMRobertaModel", pad_token_id=1, model_max_length=256)
    assert option(engine_flags(roberta, Task.EMBED).usual, "--context-length") is None


@pytest.mark.parametrize(
    ("architecture", "task"),
    [("BertModel", Task.EMBED), ("Qwen3Model", Task.EMBED), ("Qwen3Model", Task.CLASSIFY)],
)
def test_a_text_that_the_cache_can_not_hold_is_too_long(architecture: str, task: Task) -> None:
    long = config(architecture) | {"max_position_embeddings": 8192}
    usual = engine_flags(long, task, cache=4096).usual
    assert option(usual, "--context-length") == "4095"


def test_sglang_itself_refuses_a_prompt_that_the_cache_can_not_hold() -> None:
    long = config("LlamaForCausalLM") | {"max_position_embeddings": 8192}
    assert engine_flags(long, Task.GENERATE, cache=4096) == ModelFlags()


def test_the_kind_of_positions_that_transformers_no_longer_supplies_is_said() -> None:
    silent, clear = config("BertModel"), config("BertModel", **ABSOLUTE)
    name = "--json-model-override-args"
    assert option(engine_flags(silent, Task.EMBED).usual, name) == (
        '{"position_embedding_type":"absolute"}'
    )
    assert option(engine_flags(clear, Task.EMBED).usual, name) is None


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"architectures": None},
        {"architectures": "BertModel"},
        {"architectures": [None, 3, []]},
        {"architectures": ["XLMRobertaModel"], "max_position_embeddings": "many"},
        {"architectures": ["XLMRobertaModel"], "max_position_embeddings": 1, "pad_token_id": 9},
        {"architectures": ["XLMRobertaModel"], "max_position_embeddings": True},
    ],
)
def test_what_makes_no_sense_is_left_to_sglang(nonsense: dict[str, Any]) -> None:
    assert "--context-length" not in engine_flags(nonsense, Task.EMBED).usual
