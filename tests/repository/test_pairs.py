from __future__ import annotations

from typing import Any

import pytest

from router.repository.pairs import scores_pairs

BERT, ROBERTA = "BertForSequenceClassification", "XLMRobertaForSequenceClassification"


@pytest.mark.parametrize("architecture", [BERT, ROBERTA])
@pytest.mark.parametrize(
    ("head", "pairs"),
    [
        ({"id2label": {"0": "score"}}, True),
        ({"id2label": {"0": "score"}, "num_labels": 2}, True),
        ({"id2label": {"0": "no", "1": "yes"}}, False),
        ({"num_labels": 1}, True),
        ({"num_labels": 3}, False),
        ({}, False),
        ({"id2label": None}, False),
    ],
)
def test_an_encoder_with_one_label_scores_pairs(
    architecture: str, head: dict[str, Any], pairs: bool
) -> None:
    assert scores_pairs({"architectures": [architecture], **head}) is pairs


@pytest.mark.parametrize(
    "architecture",
    ["Qwen3ForSequenceClassification", "BertModel", "LlamaForCausalLM", "Unknown"],
)
def test_any_other_model_may_be_asked_either_way(architecture: str) -> None:
    assert scores_pairs({"architectures": [architecture], "num_labels": 1}) is None


@pytest.mark.parametrize("config", [{}, {"architectures": BERT}, {"architectures": [1, None]}])
def test_a_configuration_that_makes_no_sense_forbids_nothing(config: dict[str, Any]) -> None:
    assert scores_pairs(config) is None
