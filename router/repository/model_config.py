"""Reads the small JSON files of a repository and ignores unreadable ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.errors import UnsupportedModel
from router.repository.read_json import read_json


def model_config(snapshot: Path) -> Mapping[str, Any]:
    """The whole `config.json`; empty if there is none. Never raises for its content."""
    content = readable(snapshot / "config.json")
    return content if isinstance(content, dict) else {}


def readable(file: Path) -> object:
    """The content of a file; None if it can't be read. Never raises for its content."""
    try:
        return read_json(file, file.name)
    except (OSError, UnsupportedModel):
        return None
