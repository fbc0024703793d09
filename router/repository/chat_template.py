"""Decides from its chat template whether SGLang would rerank with a generation model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.repository.model_config import readable

_FILE = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_MAX_BYTES = 1 << 20  # of a template; the longest known ones have 30 kB

# SGLang looks for these in the template (entrypoints/openai/serving_rerank.py).
_ASKS = ("answer can only be", '"yes"', '"no"')
# Templates of sentence-transformers find the query and the document by message roles. SGLang
# sends both as user messages, so such a template would score empty pairs.
_BY_ROLE = re.compile(r"""['"](query|document)['"]""")


def reranks(template: object) -> bool:
    """Whether SGLang asks the model for yes or no about a query and a document."""
    if not isinstance(template, str):
        return False
    text = template.lower()
    return all(part in text for part in _ASKS) and not _BY_ROLE.search(text)


def template_of(snapshot: Path) -> object:
    """The tokenizer's chat template; None if there is none. Never raises."""
    file = snapshot / _FILE
    try:
        if file.is_file():
            return file.read_text() if file.stat().st_size <= _MAX_BYTES else None
    except (OSError, ValueError):
        return None
    config = readable(snapshot / _CONFIG)
    return config.get("chat_template") if isinstance(config, dict) else None


def template_in(config: Mapping[str, Any]) -> object:
    """The chat template in the Hub's metadata; None if it has none."""
    if (own := config.get("chat_template_jinja")) is not None:
        return own
    tokenizer = config.get("tokenizer_config")
    return tokenizer.get("chat_template") if isinstance(tokenizer, dict) else None
