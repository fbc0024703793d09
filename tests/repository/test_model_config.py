from __future__ import annotations

from pathlib import Path

import pytest

from router.repository.model_config import model_config
from router.repository.read_json import MAX_FILE_BYTES


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a": "' + b"x" * MAX_FILE_BYTES + b'"}'],
)
def test_a_configuration_that_can_not_be_read_is_empty(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert model_config(tmp_path) == {}


def test_a_model_without_a_configuration_has_an_empty_one(tmp_path: Path) -> None:
    assert model_config(tmp_path) == {}


def test_numbers_that_are_no_json_are_read_as_the_engine_reads_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "limit": Infinity}')
    assert model_config(tmp_path)["architectures"] == ["BertModel"]
