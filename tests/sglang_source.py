"""Reads the source of the installed SGLang without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1] / ".venv-sglang"


@cache
def _body_of(file: str, name: str) -> tuple[ast.stmt, ...]:
    found = list(_ROOT.glob(f"lib/*/site-packages/sglang/srt/{file}"))
    if not found:
        pytest.skip("SGLang is not installed (make setup)")
    [body] = [
        node.body
        for node in ast.parse(found[0].read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return tuple(body)


def fields_of(file: str, name: str) -> Iterator[tuple[str, ast.expr]]:
    """The fields of a class in a file below `sglang/srt`, with their annotations."""
    for item in _body_of(file, name):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id, item.annotation
