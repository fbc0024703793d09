"""The number of tokens that a model knows, from its files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from engines.vocabulary import vocabulary
from tests import tiny_models

Json = dict[str, object]


def snapshot(directory: Path, config: Json, header: Json | None = None) -> Path:
    (directory / "config.json").write_text(json.dumps(config))
    if header is not None:
        written = json.dumps(header).encode()
        content = struct.pack("<Q", len(written)) + written
        (directory / "model.safetensors").write_bytes(content)
    return directory


@pytest.mark.parametrize(
    "config",
    [
        {"vocab_size": 500},
        {"text_config": {"vocab_size": 500}, "vocab_size": 7},
        {"llm_config": {"vocab_size": 500}},
        {"thinker_config": {"text_config": {"vocab_size": 500}}},
        {"vocab_size": 500, "time_step_limit": [0.0, float("inf")], "x": float("nan")},
    ],
)
def test_the_configuration_of_the_text_part_tells(tmp_path: Path, config: Json) -> None:
    assert vocabulary(snapshot(tmp_path, config)) == 500


def test_else_the_rows_of_the_embedding_tell(tmp_path: Path) -> None:
    name = "language_model.model.embed_tokens.weight"
    header: Json = {"a.weight": {"shape": [9, 9]}, name: {"shape": [500, 64]}}
    assert vocabulary(snapshot(tmp_path, {"text_config": {}}, header)) == 500


def test_of_many_files_the_index_tells_which_holds_the_embedding(tmp_path: Path) -> None:
    snapshot(tmp_path, {}, {"model.embed_tokens.weight": {"shape": [500, 64]}})
    (tmp_path / "model.safetensors").rename(tmp_path / "two.safetensors")
    placed = {"a.weight": "one.safetensors", "model.embed_tokens.weight": "two.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    assert vocabulary(tmp_path) == 500


@pytest.mark.parametrize("file", ["a\0b", "\ud800", "", "..", ".", "x" * 5000])
def test_an_index_that_names_no_file_tells_nothing(tmp_path: Path, file: str) -> None:
    snapshot(tmp_path, {})
    index = {"weight_map": {"model.embed_tokens.weight": file}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert vocabulary(tmp_path) is None


@pytest.mark.parametrize(
    ("config", "header"),
    [
        ({}, None),
        ({"vocab_size": "500"}, None),
        ({"vocab_size": -1}, {"x": 5}),
        ({"vocab_size": True}, {"model.embed_tokens.weight": {"shape": ["x"]}}),
        ({"text_config": 5}, {"model.embed_tokens.weight": {"shape": []}}),
    ],
)
def test_odd_files_tell_nothing(tmp_path: Path, config: Json, header: Json | None) -> None:
    assert vocabulary(snapshot(tmp_path, config, header)) is None


def test_a_file_that_is_no_json_or_cut_off_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 9)
    assert vocabulary(tmp_path) is None
    assert vocabulary(tmp_path / "absent") is None


def test_the_tests_own_models_tell(tmp_path: Path) -> None:
    made = tiny_models.make(tmp_path, "apple")
    assert vocabulary(made) == tiny_models.VOCABULARY
