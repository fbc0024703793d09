"""A tiny chat model that accepts pictures and says its name like the others.

It has Pixtral's layout, the smallest that the real SGLang starts on a CPU: a vision tower of
one layer, a projector, and a language model of `tests.tiny_models`. Pictures do not change its
answer, but they are loaded all the same.
"""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

from tests import tiny_models
from tests.tiny_models import HIDDEN

HERE = "[IMG]"  # the place of a picture in a prompt
_MARKS = (HERE, "[IMG_BREAK]", "[IMG_END]")
_WIDTH, _INNER, _PATCH, _HEADS = 32, 64, 16, 2
_LARGEST = 64  # pixels per side; larger pictures are shrunk

Json = dict[str, Any]


def make(directory: Path, name: str) -> Path:
    """Write the model to `directory/name` and return that path."""
    model = tiny_models.make(directory, name)
    tokens: dict[str, int] = {}

    def tokenizer(content: Json) -> Json:
        vocabulary = content["model"]["vocab"]
        tokens.update({mark: len(vocabulary) + place for place, mark in enumerate(_MARKS)})
        vocabulary |= tokens
        like = content["added_tokens"][0]
        content["added_tokens"] += [
            like | {"id": number, "content": mark} for mark, number in tokens.items()
        ]
        return content

    _change(model / "tokenizer.json", tokenizer)
    _change(model / "tokenizer_config.json", _template)
    _change(model / "config.json", lambda text: _config(text, tokens[HERE]))
    _write(model / "preprocessor_config.json", _preprocessor())
    _write(model / "processor_config.json", _processor())
    weights = model / "model.safetensors"
    weights.write_bytes(_with_eyes(weights.read_bytes(), random.Random(name)))
    return model


def _template(content: Json) -> Json:
    text = "part['text']"
    shown = content["chat_template"].replace(
        f"{{{{ {text} }}}}", f"{{{{ {text} if part['type'] == 'text' else '{HERE}' }}}}"
    )
    return content | {"chat_template": shown}


def _config(text: Json, mark: int) -> Json:
    vision = {
        "model_type": "pixtral",
        "hidden_size": _WIDTH,
        "intermediate_size": _INNER,
        "num_hidden_layers": 1,
        "num_attention_heads": _HEADS,
        "head_dim": _WIDTH // _HEADS,
        "image_size": _LARGEST,
        "patch_size": _PATCH,
        "num_channels": 3,
        "hidden_act": "silu",
        "rope_theta": 10000.0,
        "torch_dtype": "float32",
    }
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "torch_dtype": "float32",
        "image_token_index": mark,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "text_config": text,
        "vision_config": vision,
    }


def _preprocessor() -> Json:
    return {
        "image_processor_type": "PixtralImageProcessor",
        "processor_class": "PixtralProcessor",
        "size": {"longest_edge": _LARGEST},
        "patch_size": {"height": _PATCH, "width": _PATCH},
    }


def _processor() -> Json:
    names = ("image_token", "image_break_token", "image_end_token")
    marks = dict(zip(names, _MARKS, strict=True))
    return {"processor_class": "PixtralProcessor", "patch_size": _PATCH, **marks}


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "vision_tower.patch_conv.weight", (_WIDTH, 3, _PATCH, _PATCH)
    yield "vision_tower.ln_pre.weight", (_WIDTH,)
    layer = "vision_tower.transformer.layers.0"
    for letter in "qkvo":
        yield f"{layer}.attention.{letter}_proj.weight", (_WIDTH, _WIDTH)
    yield f"{layer}.feed_forward.gate_proj.weight", (_INNER, _WIDTH)
    yield f"{layer}.feed_forward.up_proj.weight", (_INNER, _WIDTH)
    yield f"{layer}.feed_forward.down_proj.weight", (_WIDTH, _INNER)
    yield f"{layer}.attention_norm.weight", (_WIDTH,)
    yield f"{layer}.ffn_norm.weight", (_WIDTH,)
    for number, size in ((1, _WIDTH), (2, HIDDEN)):
        yield f"multi_modal_projector.linear_{number}.weight", (HIDDEN, size)
        yield f"multi_modal_projector.linear_{number}.bias", (HIDDEN,)


def _with_eyes(file: bytes, rng: random.Random) -> bytes:
    """The weights of a whole model, made from those of a model without vision."""
    (length,) = struct.unpack_from("<Q", file)
    header, data = json.loads(file[8 : 8 + length]), file[8 + length :]
    about = header.pop("__metadata__")
    header = {f"language_model.{name}": tensor for name, tensor in header.items()}
    for name, shape in _shapes():
        values = array("f", (rng.gauss(0.0, 0.05) for _ in range(prod(shape))))
        ends = (len(data), len(data) + len(values) * values.itemsize)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": ends}
        data += values.tobytes()
    text = json.dumps({"__metadata__": about, **header}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def _change(path: Path, change: Callable[[Json], Json]) -> None:
    _write(path, change(json.loads(path.read_text())))


def _write(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
