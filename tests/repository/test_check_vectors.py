from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.errors import UnsupportedModel
from router.repository.check_vectors import check_vectors, pools_mean, why_wrong
from tests import tiny_encoders, tiny_models
from tests.tiny_encoders import Encoder, Family

CHAIN = ("Transformer", "Pooling", "Normalize")


def why(
    architecture: str,
    mode: str | None,
    *further: str,
    modules: tuple[str, ...] = CHAIN,
    **also: Any,
) -> str | None:
    pooling: list[object] = [{f"pooling_mode_{mode}": True}] if mode else []
    config = {"architectures": [architecture], **also}
    return why_wrong(config, (*(modules if mode else ()), *further), pooling)


@pytest.mark.parametrize(
    ("architecture", "mode"),
    [
        *(("BertModel", "cls_token"), ("XLMRobertaModel", "cls_token"), ("BertModel", None)),
        *(("BertModel", "mean_tokens"), ("Contriever", None)),
        *(("LlamaForCausalLM", "lasttoken"), ("Qwen3Model", "lasttoken"), ("Qwen3Model", None)),
        ("XLMRobertaForSequenceClassification", None),
        *(("LlamaForCausalLM", None), ("Qwen2Model", "lasttoken"), ("CLIPModel", None)),
    ],
)
def test_what_sglang_computes_as_it_is_meant_passes(architecture: str, mode: str) -> None:
    assert why(architecture, mode) is None


@pytest.mark.parametrize(
    ("architecture", "mode", "words"),
    [
        ("BertModel", "max_tokens", "of max_tokens, and SGLang takes the first token or"),
        ("Contriever", "cls_token", "SGLang takes the mean"),
        ("XLMRobertaModel", "lasttoken", "SGLang takes the first token"),
        ("Qwen3ForCausalLM", "mean_tokens", "SGLang takes the last token"),
        ("LlamaForCausalLM", "weightedmean_tokens", "of weightedmean_tokens"),
        ("ModernBertModel", "cls_token", "ModernBertModel"),
        ("ModernBertModel", None, "ModernBertModel"),
        ("RobertaModel", "mean_tokens", "RobertaModel"),
        ("BertForMaskedLM", None, "BertForMaskedLM"),
        ("RobertaForSequenceClassification", None, "RobertaForSequenceClassification"),
        ("ModernBertForSequenceClassification", None, "no code of its own"),
    ],
)
def test_what_it_would_compute_otherwise_is_refused(
    architecture: str, mode: str, words: str
) -> None:
    assert words in (why(architecture, mode) or "")


def test_a_step_that_sglang_leaves_out_is_named() -> None:
    assert "`Dense`" in (why("BertModel", "cls_token", "Dense") or "")
    assert "`Dense`" in (why("Qwen2ForCausalLM", "lasttoken", "Dense") or "")


@pytest.mark.parametrize("step", ["Dense", "SpladePooling"])
@pytest.mark.parametrize("architecture", ["BertModel", "XLMRobertaModel", "Qwen3ForCausalLM"])
def test_a_model_of_many_vectors_for_a_text_is_refused(architecture: str, step: str) -> None:
    said = why(architecture, None, "Transformer", step)
    assert said == f"SGLang leaves out the model's last step, `{step}`."


def test_a_reranker_that_reads_the_next_token_passes() -> None:
    assert why("Qwen3ForCausalLM", None, "Transformer", "LogitScore") is None


def test_a_gemma_that_embeds_projects_its_mean() -> None:
    gemma: dict[str, Any] = {"model_type": "gemma3_text", "use_bidirectional_attention": True}
    assert why("Gemma3TextModel", "mean_tokens", "Dense", "Dense", **gemma) is None
    assert "SGLang takes the mean" in (why("Gemma3TextModel", "cls_token", **gemma) or "")


def test_a_decoder_that_looks_both_ways_is_refused() -> None:
    reason = why("Qwen2ForCausalLM", "lasttoken", is_causal=False)
    assert "both ways" in (reason or "")


@pytest.mark.parametrize(
    ("pooling", "fits"),
    [
        ({"pooling_mode": "cls"}, True),
        ({"pooling_mode": "max"}, False),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, True),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, False),
        ({}, True),
        (None, True),
    ],
)
def test_pooling_is_read_as_sentence_transformers_reads_it(pooling: object, fits: bool) -> None:
    reason = why_wrong({"architectures": ["BertModel"]}, CHAIN, [pooling])
    assert (reason is None) is fits


@pytest.mark.parametrize(("pooling", "fits"), [("cls_token", True), ("max_tokens", False)])
def test_a_repository_is_read(pooling: str, fits: bool, tmp_path: Path) -> None:
    model = tiny_encoders.make(tmp_path, "name", Encoder(Family.BERT, pooling=pooling))
    if fits:
        check_vectors(model)
    else:
        with pytest.raises(UnsupportedModel, match="max_tokens"):
            check_vectors(model)


@pytest.mark.parametrize(
    ("config", "mode", "mean"),
    [
        ({"architectures": ["BertModel"]}, "mean_tokens", True),
        ({"architectures": ["BertModel"]}, "cls_token", False),
        ({"architectures": ["XLMRobertaModel"]}, "mean_tokens", True),
        ({"architectures": ["EmbeddingGemma2Model"]}, "mean_tokens", False),
        ({"architectures": ["LlamaForCausalLM"]}, "mean_tokens", False),
    ],
)
def test_sglang_is_taught_the_mean_where_it_is_meant(
    config: dict[str, Any], mode: str, mean: bool, tmp_path: Path
) -> None:
    tiny_models.write_json(tmp_path / "config.json", config)
    tiny_models.write_pooling(tmp_path, mode)
    assert pools_mean(tmp_path) is mean


@pytest.mark.parametrize("mean", [True, False])
def test_a_contriever_takes_the_mean_and_a_silent_bert_does_not(
    mean: bool, tmp_path: Path
) -> None:
    name = "Contriever" if mean else "BertModel"
    tiny_models.write_json(tmp_path / "config.json", {"architectures": [name]})
    assert pools_mean(tmp_path) is mean


@pytest.mark.parametrize("kind", tiny_models.Kind)
def test_the_other_tiny_models_pass(kind: tiny_models.Kind, tmp_path: Path) -> None:
    check_vectors(tiny_models.make(tmp_path, "name", kind))


@pytest.mark.parametrize(
    "modules", [None, {}, [], [3], [{"type": 3}], [{"type": "a.Pooling", "path": "../x"}]]
)
def test_files_that_make_no_sense_raise_nothing_else(modules: object, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    check_vectors(tmp_path)
