"""Models of any size for a GPU: layers like an 8B Llama's, with random bfloat16 weights."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from itertools import repeat
from math import prod
from pathlib import Path
from typing import BinaryIO

from tests import tiny_models
from tests.tiny_models import VOCABULARY, Shape

GIB = 1 << 30

_HIDDEN, _HEADS, _KV_HEADS, _HEAD, _INNER = 4096, 32, 8, 128, 14336
_WIDTH = 2  # bytes per bfloat16
_PATTERN = 1 << 20  # number of random values, repeated


def make(directory: Path, name: str, size: int) -> Path:
    """Write a model with about `size` bytes of weights to `directory/name`."""
    model = tiny_models.make(directory, name)
    layers = max(1, round(size / _bytes(_layer(0))))
    config = json.loads((model / "config.json").read_text()) | {
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "head_dim": _HEAD,
        "torch_dtype": "bfloat16",
    }
    tiny_models.write_json(model / "config.json", config)
    with (model / "model.safetensors").open("wb") as file:
        _write(file, [*_ends(), *(one for n in range(layers) for one in _layer(n))])
    return model


def weights(model: Path) -> int:
    return (model / "model.safetensors").stat().st_size


def _ends() -> Iterator[tuple[str, Shape]]:
    yield "model.embed_tokens.weight", (VOCABULARY, _HIDDEN)
    yield "model.norm.weight", (_HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, _HIDDEN)


def _layer(number: int) -> Iterator[tuple[str, Shape]]:
    layer = f"model.layers.{number}"
    yield f"{layer}.input_layernorm.weight", (_HIDDEN,)
    yield f"{layer}.self_attn.q_proj.weight", (_HEADS * _HEAD, _HIDDEN)
    yield f"{layer}.self_attn.k_proj.weight", (_KV_HEADS * _HEAD, _HIDDEN)
    yield f"{layer}.self_attn.v_proj.weight", (_KV_HEADS * _HEAD, _HIDDEN)
    yield f"{layer}.self_attn.o_proj.weight", (_HIDDEN, _HEADS * _HEAD)
    yield f"{layer}.post_attention_layernorm.weight", (_HIDDEN,)
    yield f"{layer}.mlp.gate_proj.weight", (_INNER, _HIDDEN)
    yield f"{layer}.mlp.up_proj.weight", (_INNER, _HIDDEN)
    yield f"{layer}.mlp.down_proj.weight", (_HIDDEN, _INNER)


def _bytes(tensors: Iterator[tuple[str, Shape]]) -> int:
    return sum(prod(shape) for _, shape in tensors) * _WIDTH


def _write(file: BinaryIO, tensors: list[tuple[str, Shape]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in tensors:
        end = start + prod(shape) * _WIDTH
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    rng = random.Random(0)
    pattern = b"".join(_bfloat16(rng.gauss(0.0, 0.02)) for _ in range(_PATTERN))
    for _, shape in tensors:
        content = _bfloat16(1.0) * _HIDDEN if len(shape) == 1 else pattern
        left = prod(shape) * _WIDTH
        for block in repeat(content, -(-left // len(content))):
            file.write(block[:left])
            left -= len(block)


def _bfloat16(value: float) -> bytes:
    return struct.pack("<f", value)[2:]
