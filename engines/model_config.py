"""Reads a model's config.json, as far as it decides about flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST_BYTES = 4 << 20  # what the check of a repository's files lets pass


def model_config(snapshot: Path) -> Mapping[str, Any]:
    """The whole object; empty where there is none. Never raises for what it holds."""
    file = snapshot / "config.json"
    try:
        if file.stat().st_size > _MOST_BYTES:
            return {}
        # As the engine reads it: `NaN` and `Infinity` are no JSON, and are in real ones.
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
