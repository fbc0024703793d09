"""Transformers' results for the same weights. SGLang's Python runs this, because it has
transformers.

Reads lines of `{"model": path, "inputs": [text or [text, text], ...]}`. For each, it writes one
line of JSON: the vectors of an embedder, with length 1, or the logits of a classifier.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_vectors(asked["model"], asked["inputs"])), flush=True)


def _vectors(path: str, inputs: list[Any]) -> list[list[float]]:
    classifies = "Classification" in AutoConfig.from_pretrained(path).architectures[0]
    kind = AutoModelForSequenceClassification if classifies else AutoModel
    model = kind.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    found = []
    for given in inputs:
        texts = given if isinstance(given, list) else [given]
        with torch.no_grad():
            output = model(**tokenizer(*texts, return_tensors="pt"))
        found.append(output.logits[0] if classifies else _pooled(output, Path(path)))
    return [vector.tolist() for vector in found]


def _pooled(output: Any, path: Path) -> Any:
    """One vector made of all tokens' vectors, like sentence-transformers."""
    tokens = output.last_hidden_state[0]
    mode = json.loads((path / "1_Pooling/config.json").read_text())
    if mode.get("pooling_mode_mean_tokens"):
        pooled = tokens.mean(0)
    else:
        pooled = tokens[-1 if mode.get("pooling_mode_lasttoken") else 0]
    return torch.nn.functional.normalize(pooled, dim=0)


if __name__ == "__main__":
    main()
