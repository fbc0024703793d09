from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest

from router.errors import UnsupportedModel
from router.repository import weight_index
from router.repository.listing import MAX_FILES
from router.repository.read_facts import read_facts
from router.repository.weight_index import indexed_files

INDEX = "model.safetensors.index.json"


def write(snapshot: Path, **documents: object) -> Path:
    for name, content in documents.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (snapshot / f"{name}.json").write_text(text)
    return snapshot


def indexed(tmp_path: Path, content: str) -> frozenset[str]:
    (tmp_path / INDEX).write_text(content)
    return indexed_files(tmp_path / INDEX, INDEX)


def test_facts_are_read_from_the_small_files(tmp_path: Path) -> None:
    modules = [{"path": ""}, {"path": "2_Dense"}, {"path": "../x"}, {"path": 5}, "x"]
    config = {"architectures": ["A", 1, "B"], "num_nextn_predict_layers": 1}
    facts = read_facts(write(tmp_path, config=config, modules=modules), None)
    assert (facts.architectures, facts.next_token_layers) == (("A", "B"), 1)
    assert (facts.module_folders, facts.indexed) == (("2_Dense",), None)


@pytest.mark.parametrize("config", [[], None, 5, {"architectures": "A"}, {"text_config": 5}])
def test_an_odd_configuration_says_nothing(tmp_path: Path, config: object) -> None:
    assert not read_facts(write(tmp_path, config=config, modules=config), None).architectures


def test_an_index_is_read_whatever_its_form(tmp_path: Path) -> None:
    content = {
        "metadata": {"total_size": 5, "format": "pt"},
        "weight_map": {"a:": "x.safetensors", "b, c": "y.safetensors", "d": "x.safetensors"},
    }
    expected = {"x.safetensors", "y.safetensors"}
    for text in (
        json.dumps(content),
        json.dumps(content, indent=2),
        json.dumps(content, separators=(",", ":")),
    ):
        assert indexed(tmp_path, text) == expected


@pytest.mark.parametrize("content", ["", "{}", "version https://git-lfs.github.com/spec/v1"])
def test_an_index_that_names_nothing_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UnsupportedModel, match=r"names no files"):
        indexed(tmp_path, content)


def test_an_index_that_names_too_many_files_is_refused(tmp_path: Path) -> None:
    names = {str(n): f"{n}.safetensors" for n in range(MAX_FILES + 1)}
    with pytest.raises(UnsupportedModel, match="too many"):
        indexed(tmp_path, json.dumps({"weight_map": names}))


def test_an_index_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_index, "MAX_INDEX_BYTES", 10)
    with pytest.raises(UnsupportedModel, match="more than 10 bytes"):
        indexed(tmp_path, '{"weight_map": {"a": "x.safetensors"}}')


@pytest.mark.parametrize("unit", ['"', '"a":', '"' + "a" * 511, '"x.safetensors",', ":", " "])
def test_an_index_is_read_in_linear_time(tmp_path: Path, unit: str) -> None:
    began = time.thread_time()
    (tmp_path / INDEX).write_text(unit * ((4 << 20) // len(unit)))
    with suppress(UnsupportedModel):
        indexed_files(tmp_path / INDEX, INDEX)
    assert time.thread_time() - began < 4.0
