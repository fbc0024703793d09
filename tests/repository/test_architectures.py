from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines.command import CPU_MODULES
from router.models import Task
from router.repository import architectures
from router.repository.architectures import Architecture, identify, lookup, quantization

ROOT = Path(__file__).parents[2]
SGLANG_PYTHON = ROOT / ".venv-sglang/bin/python"
TABLE = ROOT / "router/repository/architectures.json"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LlamaForCausalLM", Architecture(Task.GENERATE)),
        ("Qwen3_5ForConditionalGeneration", Architecture(Task.GENERATE)),  # not on a CPU
        ("ChatGLMModel", Architecture(Task.GENERATE)),
        ("MistralModel", Architecture(Task.EMBED)),
        ("Qwen3Model", Architecture(Task.EMBED)),
        ("BertModel", Architecture(Task.EMBED, bidirectional=True)),
        ("CLIPModel", Architecture(Task.EMBED, bidirectional=True)),
        ("Lfm2BidirectionalModel", Architecture(Task.EMBED, bidirectional=True)),
        ("Qwen2ForRewardModel", Architecture(Task.CLASSIFY)),
        ("LlamaForClassification", Architecture(Task.CLASSIFY)),
        (
            "LlamaForSequenceClassificationWithNormal_Weights",
            Architecture(Task.CLASSIFY),
        ),
        (
            "XLMRobertaForSequenceClassification",
            Architecture(Task.CLASSIFY, bidirectional=True),
        ),
        (
            "WhisperForConditionalGeneration",
            Architecture(Task.GENERATE, transcribes=True),
        ),
        ("NoSuchModel", None),
    ],
)
def test_an_architecture_is_what_sglang_makes_of_it(
    name: str, expected: Architecture | None
) -> None:
    assert lookup(name) == expected


@pytest.mark.parametrize("nested", [True, False])
def test_a_gemma_that_sees_ahead_is_an_embedder(nested: bool) -> None:
    text = {"model_type": "gemma3_text", "use_bidirectional_attention": True}
    config: dict[str, Any] = {"text_config": text} if nested else text
    found = identify(["Gemma3TextModel"], config)
    assert found == Architecture(Task.EMBED, bidirectional=True)


def test_the_first_architecture_that_sglang_has_counts() -> None:
    assert identify(["Mine", "BertModel", "LlamaForCausalLM"], {}) == lookup("BertModel")
    assert identify(["Mine"], {"text_config": ["odd"]}) is None


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ModernBertModel", Task.EMBED),
        ("RobertaForMaskedLM", Task.EMBED),
        ("ModernBertForSequenceClassification", Task.CLASSIFY),
    ],
)
def test_an_encoder_sees_ahead_with_the_code_of_transformers_too(name: str, task: Task) -> None:
    assert lookup(name) is None
    assert identify([name], {}) == Architecture(task, bidirectional=True)
    assert identify([name, "LlamaForCausalLM"], {}) == lookup("LlamaForCausalLM")


def test_a_configuration_that_sglang_or_transformers_has_needs_no_code() -> None:
    assert architectures.knows_model_type("llama")
    assert architectures.knows_model_type("deepseek_vl_v2")
    assert not architectures.knows_model_type("mine")


def test_a_quantization_says_where_it_runs() -> None:
    fp8, gptq = quantization("fp8"), quantization("gptq")
    assert fp8 is not None
    assert (fp8.cpu, fp8.capability) == (True, 80)
    assert gptq is not None
    assert (gptq.cpu, gptq.capability) == (True, None)
    assert quantization("mine") is None


@pytest.mark.sglang
def test_the_table_is_what_the_installed_sglang_says() -> None:
    run = subprocess.run(
        [SGLANG_PYTHON, ROOT / "tests/e2e_sglang/registry.py"],
        env={
            "PYTHONPATH": str(CPU_MODULES),
            "SGLANG_USE_CPU_ENGINE": "1",
            "HF_HUB_OFFLINE": "1",  # some model types look for others
            "PATH": "/usr/bin",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == json.loads(TABLE.read_text()), "run `make registry`"
    assert run.stdout == TABLE.read_text(), "run `make registry`"
