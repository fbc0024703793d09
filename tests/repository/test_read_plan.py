from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.repository.conditions import Conditions
from router.repository.flag_values import is_set, number_of, value_of
from router.repository.read_plan import read_plan
from router.repository.tensor_headers import MAX_HEADER, Tensor, read_tensors

ON = Conditions()


def safetensors(header: dict[str, Any], data: int = 0) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def tensor(dtype: str, begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin], "data_offsets": [begin, end]}


# --- headers ----------------------------------------------------------------------------


def test_a_file_tells_its_tensors(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": tensor("BF16", 0, 6),
        "b": tensor("F8_E4M3", 6, 10),
    }
    (tmp_path / "x.safetensors").write_bytes(safetensors(header, 10))
    found = read_tensors([tmp_path / "x.safetensors"])
    assert found == [Tensor("a", "BF16", 6), Tensor("b", "F8_E4M3", 4)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (1 << 60).to_bytes(8, "little"),
        (MAX_HEADER + 1).to_bytes(8, "little") + b" " * 100,
        (5).to_bytes(8, "little") + b"[[[[[",
        safetensors({"a": 1}),
        safetensors({"a": {"dtype": "F32"}}),
        safetensors({"a": tensor("F32", 8, 4)}, 8),
        safetensors({"a": tensor("F32", -8, 4)}, 8),
        safetensors({"a": {"dtype": "F32", "data_offsets": [True, 4]}}, 8),
        safetensors({"a": tensor("F32", 0, 1 << 50)}, 8),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_what_is_no_such_file_tells_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert read_tensors([tmp_path / "x.safetensors"]) is None


def test_a_file_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert read_tensors([tmp_path / "none.safetensors"]) is None


# --- snapshots -----------------------------------------------------------------------------


def test_only_what_is_loaded_counts(tmp_path: Path) -> None:
    whole = safetensors({"a": tensor("F32", 0, 400)}, 400)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "adapter_model.safetensors").write_bytes(whole)
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(10_000))
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(bytes(10_000))
    assert read_plan(tmp_path, ON).weights == 200


def test_shards_count_together_as_the_index_names_them(tmp_path: Path) -> None:
    for number in (1, 2):
        one = safetensors({f"t{number}": tensor("BF16", 0, 100)}, 100)
        (tmp_path / f"model-{number}-of-2.safetensors").write_bytes(one)
    names = {f"t{number}": f"model-{number}-of-2.safetensors" for number in (1, 2)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert read_plan(tmp_path, ON).weights == 200


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.Q4_K_M.gguf"])
def test_of_other_formats_the_size_of_the_files_counts(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes(1234))
    assert read_plan(tmp_path, ON).weights == 1234


def test_files_that_can_not_be_read_are_counted_by_their_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert read_plan(tmp_path, ON).weights == 1000


def test_an_incomplete_index_makes_no_difference_to_the_plan(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{")
    (tmp_path / "model-1-of-2.safetensors").write_bytes(b"x" * 1000)
    assert read_plan(tmp_path, ON).weights == 1000


def test_an_empty_directory_has_a_plan(tmp_path: Path) -> None:
    assert read_plan(tmp_path, ON).weights == 0
    assert read_plan(tmp_path / "none", ON).weights == 0


def test_before_the_weights_are_there_their_size_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"torch_dtype": "float32"}')
    assert read_plan(tmp_path, ON, 1000).weights == 500


# --- flags -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ("--kv-cache-dtype", "fp8"),
        ("--kv_cache_dtype=fp8",),
        ("--kv-c", "fp8"),
        ("--kv-cache-dtype=auto", "--kv-cache-dtype", "fp8"),
    ],
)
def test_a_flag_is_read_as_argparse_reads_it(flags: tuple[str, ...]) -> None:
    assert value_of(flags, "--kv-cache-dtype") == "fp8"


def test_another_flag_is_not_taken_for_it() -> None:
    assert value_of(("--quantization-param-path", "x"), "--quantization") is None
    assert not is_set(("--disable-radix-cache-x",), "--disable-radix-cache")
    assert is_set(("--disable_radix_cache",), "--disable-radix-cache")


@given(st.text())
def test_a_number_is_one_or_none(text: str) -> None:
    found = number_of((f"--tp-size={text}",), "--tp-size", most=99)
    assert found is None or (1 <= found <= 99 and int(text) == found)
