"""What SGLang makes of a model's architecture, of its configuration and of its quantization.

`architectures.json` holds what the pinned SGLang says (`make registry` writes it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from router.models import Task

_TABLE = Path(__file__).with_name("architectures.json")

# What SGLang itself calls a `Gemma3TextModel` whose attention sees ahead.
_EMBEDDING_GEMMA = "EmbeddingGemmaModel"


@dataclass(frozen=True, slots=True)
class Architecture:
    """What SGLang makes of a model."""

    task: Task  # what SGLang makes of it if nothing else tells
    bidirectional: bool = False  # a token attends to those after it
    transcribes: bool = False  # speech to text, and nothing else


@dataclass(frozen=True, slots=True)
class Quantization:
    """A method that SGLang knows."""

    cpu: bool  # it runs on a CPU
    # The least CUDA compute capability: 75 is 7.5. None: no GPU runs it under this name
    # (`gptq` becomes `gptq_marlin` there).
    capability: int | None = None


@dataclass(frozen=True, slots=True)
class TypeShape:
    """What the configurations of one type mean by what they leave out.

    * `text`: the type of the part about the language; "" where the whole is about it.
    * `names`: their own names for dimensions.
    * `defaults`: of dimensions that they do not state.
    """

    text: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)


def named(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The `architectures` of a model's `config.json`, as far as they are names."""
    listed = config.get("architectures")
    return tuple(n for n in listed if isinstance(n, str)) if isinstance(listed, list) else ()


def lookup(name: str) -> Architecture | None:
    """None: SGLang has no such architecture. It may still load it with transformers' code."""
    return _architectures("architectures").get(name)


def names() -> Iterable[str]:
    """Of all architectures that SGLang has, sorted."""
    return sorted(_architectures("architectures"))


def identify(names: Sequence[str], config: Mapping[str, Any]) -> Architecture | None:
    """The first of `names` that SGLang has, with a model's whole `config.json` in mind.

    Else the first encoder that SGLang loads with transformers' code.
    """
    text = config.get("text_config", config)
    if (
        isinstance(text, dict)
        and text.get("model_type") == "gemma3_text"
        and text.get("use_bidirectional_attention")
    ):
        return lookup(_EMBEDDING_GEMMA)
    own = _architectures("architectures")
    known = own if any(name in own for name in names) else _architectures("encoders")
    return next((known[name] for name in names if name in known), None)


def knows_model_type(name: str) -> bool:
    """Whether a configuration of this `model_type` needs no code of its repository."""
    return name in _names("model_types")


def falls_back(name: str) -> bool:
    """Whether SGLang, which has no code for this architecture, loads it with transformers'."""
    return name in _names("fallback")


def is_renamed(model_type: str) -> bool:
    """Whether SGLang may put architectures of its own in the place of the configuration's."""
    return model_type in _names("named_by_sglang")


def has_tokenizer_code(model_type: object, tokenizer_class: object) -> bool:
    """Whether transformers has code for the tokenizer, by what the two configurations name."""
    if isinstance(model_type, str) and model_type in _names("tokenizer_types"):
        return True
    name = tokenizer_class if isinstance(tokenizer_class, str) else ""
    known = _names("tokenizer_classes")
    return name in known or name.removesuffix("Fast") in known or f"{name}Fast" in known


def shape_of_type(model_type: str) -> TypeShape:
    """Empty for a type that SGLang does not know."""
    return TypeShape(**_table()["shapes"].get(model_type, {}))


def version() -> str:
    """The release of SGLang that all this is about."""
    release: str = _table()["sglang"]
    return release


def quantization(method: str) -> Quantization | None:
    """By the `quant_method` of a configuration; None: SGLang has no such method."""
    return _quantization().get(method)


@cache
def _architectures(key: str) -> Mapping[str, Architecture]:
    return {
        name: Architecture(
            Task(about["task"]),
            bidirectional=about.get("bidirectional", False),
            transcribes=about.get("transcribes", False),
        )
        for name, about in _table()[key].items()
    }


@cache
def _names(key: str) -> frozenset[str]:
    return frozenset(_table()[key])


@cache
def _quantization() -> Mapping[str, Quantization]:
    return {
        name: Quantization(about["cpu"], about.get("capability"))
        for name, about in _table()["quantization"].items()
    }


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(_TABLE.read_bytes())
    return table
