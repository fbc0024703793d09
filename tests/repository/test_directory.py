from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.models import Task
from router.repository.directory import task_of_directory
from tests import tiny_models

POOLED = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
RERANKS = [{"type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"}]


def directory(tmp_path: Path, config: object, **files: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("architecture", "files", "task"),
    [
        ("LlamaForCausalLM", {}, Task.GENERATE),
        ("BertModel", {}, Task.EMBED),
        ("XLMRobertaForSequenceClassification", {"modules": []}, Task.CLASSIFY),
        ("Qwen3ForCausalLM", {"modules": POOLED}, Task.EMBED),
        ("Qwen3ForCausalLM", {"modules": RERANKS}, Task.GENERATE),
        (
            "Qwen3ForCausalLM",
            {"config_sentence_transformers": {"model_type": "CrossEncoder"}},
            Task.GENERATE,
        ),
        ("WhisperForConditionalGeneration", {}, Task.TRANSCRIBE),
    ],
)
def test_a_directory_is_judged_as_a_repository_is(
    tmp_path: Path, architecture: str, files: dict[str, object], task: Task
) -> None:
    where = directory(tmp_path, {"architectures": [architecture]}, **files)
    assert task_of_directory(where) is task


def test_a_folder_of_a_module_tells_its_task(tmp_path: Path) -> None:
    where = directory(tmp_path, {"architectures": ["Qwen3ForCausalLM"]})
    (where / "1_Pooling").mkdir()
    assert task_of_directory(where) is Task.EMBED


def test_a_saved_embedder_embeds(tmp_path: Path) -> None:
    made = tiny_models.make(tmp_path, "model", tiny_models.Kind.EMBED)
    assert task_of_directory(made) is Task.EMBED


def test_a_configuration_may_hold_what_python_reads_as_json(tmp_path: Path) -> None:
    config = {"architectures": ["BertModel"], "limit": float("inf"), "none": float("nan")}
    assert task_of_directory(directory(tmp_path, config)) is Task.EMBED


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000, '{"architectures": {"a": 1}}'])
def test_a_directory_that_can_not_be_judged_generates(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert task_of_directory(tmp_path) is Task.GENERATE


def test_a_directory_that_does_not_exist_generates(tmp_path: Path) -> None:
    assert task_of_directory(tmp_path / "absent") is Task.GENERATE


def test_a_directorys_name_tells_where_nothing_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen3-VL-Embedding-2B"
    folder.mkdir()
    where = directory(folder, {"architectures": ["Qwen3VLForConditionalGeneration"]})
    assert task_of_directory(where) is Task.EMBED
    assert task_of_directory(where, "org/other") is Task.GENERATE
