"""Reads the small JSON files of a repository, where what can't be read decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.errors import UnsupportedModel
from router.repository.read_json import read_json


def model_config(snapshot: Path) -> Mapping[str, Any]:
    """The whole `config.json`; empty where there is none. Never raises for what it holds."""
    content = readable(snapshot / "config.json")
    return content if isinstance(content, dict) else {}


def readable(file: Path) -> object:
    """What a file holds; None where it can't be read. Never raises for what it holds."""
    try:
        return read_json(file, file.name)
    except (OSError, UnsupportedModel):
        return None
