"""The models' answers are tested with the real SGLang: their names in
`tests/engines/test_cpu.py`, and pictures in `tests/e2e_sglang/test_attack_by_media.py`."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny_vision
from tests.tiny_models import Kind, answer, make


def contents(model: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(model)): file.read_bytes()
        for file in sorted(model.rglob("*"))
        if file.is_file()
    }


def test_a_model_is_small(tmp_path: Path) -> None:
    assert sum(map(len, contents(make(tmp_path, "apple")).values())) < 1_000_000


def test_the_same_name_makes_the_same_model(tmp_path: Path) -> None:
    assert contents(make(tmp_path / "a", "apple")) == contents(make(tmp_path / "b", "apple"))


def test_each_model_has_an_answer_and_weights_of_its_own(tmp_path: Path) -> None:
    apple, pear = (contents(make(tmp_path, name)) for name in ("apple", "pear"))
    assert answer("apple") == "I am apple."
    assert apple["model.safetensors"] != pear["model.safetensors"]
    assert apple["tokenizer.json"] != pear["tokenizer.json"]


@pytest.mark.parametrize("made", [make, tiny_vision.make])
def test_every_token_has_a_row_in_the_weights(
    made: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    model = made(tmp_path, "a-name_with.all-sorts")
    vocabulary = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    config = json.loads((model / "config.json").read_text())
    rows = config.get("text_config", config)["vocab_size"]
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(vocabulary) <= rows


@pytest.mark.parametrize("made", [make, tiny_vision.make])
def test_the_weights_fill_their_file(made: Callable[[Path, str], Path], tmp_path: Path) -> None:
    data = (made(tmp_path, "apple") / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name[0] != "_"]
    assert max(ends) == len(data) - 8 - length


def test_the_hub_can_tell_an_embedder(tmp_path: Path) -> None:
    embedder = contents(make(tmp_path, "vectors", Kind.EMBED))
    assert {"modules.json", "1_Pooling/config.json"} <= embedder.keys()
    assert "modules.json" not in contents(make(tmp_path, "apple"))
