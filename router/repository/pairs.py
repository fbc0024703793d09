"""Tells a reranker from a classifier where both have the same architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.models import Task
from router.repository.architectures import identify, named

_LABELS = 2  # of a configuration that says nothing: transformers' default


def scores_pairs(config: Mapping[str, Any]) -> bool | None:
    """Whether an encoder scores pairs of texts (True), or classifies texts (False), by its
    `config.json`. None: its architecture is no encoder's, and it can be asked either way.

    One label is a score. SGLang 0.5.23 dies of a batch that holds both, because only pairs
    have token types; and it has no answer to the wrong question.
    """
    found = identify(named(config), config)
    if found is None or not found.bidirectional or found.task is not Task.CLASSIFY:
        return None
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return len(labels) == 1
    return bool(config.get("num_labels", _LABELS) == 1)
