"""Distinguishes rerankers from classifiers with the same architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.models import Task
from router.repository.architectures import identify, named

_LABELS = 2  # transformers' default


def scores_pairs(config: Mapping[str, Any]) -> bool | None:
    """Whether an encoder scores pairs of texts (True) or classifies texts (False), by its
    `config.json`. None: it is not an encoder, and it can do both.

    One label means a score. A batch with both kinds kills SGLang 0.5.23, because only pairs
    have token types. It also has no answer to the wrong kind of request.
    """
    found = identify(named(config), config)
    if found is None or not found.bidirectional or found.task is not Task.CLASSIFY:
        return None
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return len(labels) == 1
    return bool(config.get("num_labels", _LABELS) == 1)
