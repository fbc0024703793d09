"""Tiny encoders: BERT and XLM-RoBERTa that embed, rerank or classify, with random weights.

They are whole checkpoints, like those of `tests.tiny_models`. The real SGLang serves them on a
CPU. Their weights are so large that each token's position, and each of its neighbors on both
sides, changes the numbers.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import Any

from tests import tiny_models
from tests.tiny_models import HEADS, HIDDEN, INNER, LAYERS, Shape, Tensors

CONTEXT = 512  # tokens, special ones included
_PADDING = 1  # the id of XLM-RoBERTa's padding: positions start after it
_BEGIN, _END = "<s>", "</s>"
_SPECIAL = (_BEGIN, "<pad>", _END)

Json = dict[str, Any]


class Family(StrEnum):
    BERT = "bert"
    XLM_ROBERTA = "xlm-roberta"


@dataclass(frozen=True)
class Encoder:
    """The encoder to make: an embedder if `labels` is 0, otherwise a classifier with so many
    labels."""

    family: Family
    labels: int = 0
    pooling: str = "cls_token"  # in sentence-transformers' words

    @property
    def architecture(self) -> str:
        name = {Family.BERT: "Bert", Family.XLM_ROBERTA: "XLMRoberta"}[self.family]
        return name + ("ForSequenceClassification" if self.labels else "Model")


def make(directory: Path, name: str, encoder: Encoder) -> Path:
    """Write the model to `directory/name` and return that path."""
    model = directory / name
    model.mkdir(parents=True, exist_ok=True)
    tokens = [*_SPECIAL, *tiny_models.letters()]
    if not encoder.labels:
        tiny_models.write_pooling(model, encoder.pooling)
    tiny_models.write_json(model / "config.json", _config(encoder, len(tokens)))
    tiny_models.write_json(model / "tokenizer.json", _tokenizer(tokens, encoder.family))
    tiny_models.write_json(model / "tokenizer_config.json", _tokenizer_config(encoder.family))
    weights = _weights(random.Random(name), _shapes(encoder, len(tokens)))
    (model / "model.safetensors").write_bytes(tiny_models.safetensors(weights))
    return model


def _positions(family: Family) -> int:
    return CONTEXT + (_PADDING + 1 if family is Family.XLM_ROBERTA else 0)


def _config(encoder: Encoder, vocabulary: int) -> Json:
    labels = {str(number): f"label {number}" for number in range(encoder.labels)}
    return {
        "architectures": [encoder.architecture],
        "model_type": str(encoder.family),
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": _positions(encoder.family),
        "type_vocab_size": 2 if encoder.family is Family.BERT else 1,
        "torch_dtype": "float32",
        "pad_token_id": _PADDING,
        "bos_token_id": 0,
        "eos_token_id": 2,
        **({"id2label": labels} if labels else {}),
    }


def _shapes(encoder: Encoder, vocabulary: int) -> Iterator[tuple[str, Shape]]:
    xlm = encoder.family is Family.XLM_ROBERTA
    head = ("roberta." if xlm else "bert.") if encoder.labels else ""
    yield f"{head}embeddings.word_embeddings.weight", (vocabulary, HIDDEN)
    yield f"{head}embeddings.position_embeddings.weight", (_positions(encoder.family), HIDDEN)
    yield f"{head}embeddings.token_type_embeddings.weight", (1 if xlm else 2, HIDDEN)
    yield from _norm(f"{head}embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"{head}encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _linear(f"{layer}.attention.{part}", HIDDEN, HIDDEN)
        yield from _norm(f"{layer}.attention.output.LayerNorm")
        yield from _linear(f"{layer}.intermediate.dense", INNER, HIDDEN)
        yield from _linear(f"{layer}.output.dense", HIDDEN, INNER)
        yield from _norm(f"{layer}.output.LayerNorm")
    if encoder.labels and xlm:
        yield from _linear("classifier.dense", HIDDEN, HIDDEN)
        yield from _linear("classifier.out_proj", encoder.labels, HIDDEN)
    elif encoder.labels:
        yield from _linear("classifier", encoder.labels, HIDDEN)
    if not xlm:
        yield from _linear(f"{head}pooler.dense", HIDDEN, HIDDEN)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norm(name: str) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (HIDDEN,)
    yield f"{name}.bias", (HIDDEN,)


def _weights(rng: random.Random, shapes: Iterator[tuple[str, Shape]]) -> Tensors:
    tensors: Tensors = {}
    for name, shape in shapes:
        middle = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        values = (rng.gauss(middle, 0.2) for _ in range(prod(shape)))
        tensors[name] = (shape, array("f", values))
    return tensors


def _tokenizer(tokens: Sequence[str], family: Family) -> Json:
    """A tokenizer with one token per byte, between the marks of BERT or XLM-RoBERTa."""
    second = 1 if family is Family.BERT else 0  # the token type of the second text of a pair
    between = [_END, _END] if family is Family.XLM_ROBERTA else [_END]
    pair = [
        *(_mark(_BEGIN, 0), _text("A", 0)),
        *(_mark(mark, 0) for mark in between),
        *(_text("B", second), _mark(_END, second)),
    ]
    marks = {
        mark: {"id": mark, "ids": [_SPECIAL.index(mark)], "tokens": [mark]}
        for mark in (_BEGIN, _END)
    }
    content = tiny_models.tokenizer(
        {token: number for number, token in enumerate(tokens)}, _SPECIAL
    )
    single = [_mark(_BEGIN, 0), _text("A", 0), _mark(_END, 0)]
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": marks,
    }
    return content


def _mark(mark: str, kind: int) -> Json:
    return {"SpecialToken": {"id": mark, "type_id": kind}}


def _text(which: str, kind: int) -> Json:
    return {"Sequence": {"id": which, "type_id": kind}}


def _tokenizer_config(family: Family) -> Json:
    inputs = ["input_ids", "attention_mask"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "model_input_names": inputs + (["token_type_ids"] if family is Family.BERT else []),
        "pad_token": "<pad>",
        "eos_token": _END,
        "bos_token": _BEGIN,
        "cls_token": _BEGIN,
        "sep_token": _END,
    }
