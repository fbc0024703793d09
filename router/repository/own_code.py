"""Detects code in a repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ASK_FOR_TRUST = (
    "Only the operator can allow that, with --trust-remote-code for this model in the models "
    "file. Use another model, or ask the operator."
)


def code_for(config: Mapping[str, Any], role: str) -> bool:
    """Whether the repository has its own code for a role such as `AutoModel`."""
    named = config.get("auto_map")
    if role == "AutoTokenizer" and isinstance(named, list):
        return True
    return isinstance(named, dict) and bool(named.get(role))
