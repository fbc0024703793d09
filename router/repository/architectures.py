"""How SGLang treats a model's architecture, its configuration type and its quantization.

`architectures.json` has the answers of the pinned SGLang. `make registry` writes it.
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

# SGLang's name for a `Gemma3TextModel` with bidirectional attention.
_EMBEDDING_GEMMA = "EmbeddingGemmaModel"


@dataclass(frozen=True, slots=True)
class Architecture:
    """How SGLang treats an architecture."""

    task: Task  # its default task
    bidirectional: bool = False  # tokens attend to later ones
    transcribes: bool = False  # speech to text only


@dataclass(frozen=True, slots=True)
class Quantization:
    """A quantization method that SGLang supports."""

    cpu: bool  # it runs on a CPU
    # The minimum CUDA compute capability: 75 is 7.5. None: no GPU runs it under this name
    # (there, `gptq` becomes `gptq_marlin`).
    capability: int | None = None


@dataclass(frozen=True, slots=True)
class TypeShape:
    """How to read configurations of one `model_type`.

    * `text`: the type of the language model's part; "" if the whole configuration is about it.
    * `names`: this type's own names for dimensions.
    * `defaults`: of dimensions that the configuration omits.
    """

    text: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)


def named(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The valid names in the `architectures` of a model's `config.json`."""
    listed = config.get("architectures")
    return tuple(n for n in listed if isinstance(n, str)) if isinstance(listed, list) else ()


def lookup(name: str) -> Architecture | None:
    """None: SGLang has no such architecture. It may still load it with transformers' code."""
    return _architectures("architectures").get(name)


def names() -> Iterable[str]:
    """The names of all architectures of SGLang, sorted."""
    return sorted(_architectures("architectures"))


def identify(names: Sequence[str], config: Mapping[str, Any]) -> Architecture | None:
    """The architecture of the first of `names` that SGLang has, or the first encoder that
    SGLang loads with transformers' code. `config`: the whole `config.json`."""
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
    """Whether a configuration of this `model_type` needs no code from its repository."""
    return name in _names("model_types")


def falls_back(name: str) -> bool:
    """Whether SGLang loads this architecture with transformers' code, because it has none."""
    return name in _names("fallback")


def is_renamed(model_type: str) -> bool:
    """Whether SGLang may replace the architectures in a configuration of this type."""
    return model_type in _names("named_by_sglang")


def has_tokenizer_code(model_type: object, tokenizer_class: object) -> bool:
    """Whether transformers has code for the tokenizer that these two configurations name."""
    if isinstance(model_type, str) and model_type in _names("tokenizer_types"):
        return True
    name = tokenizer_class if isinstance(tokenizer_class, str) else ""
    known = _names("tokenizer_classes")
    return name in known or name.removesuffix("Fast") in known or f"{name}Fast" in known


def shape_of_type(model_type: str) -> TypeShape:
    """Returns an empty shape for an unknown type."""
    return TypeShape(**_table()["shapes"].get(model_type, {}))


def version() -> str:
    """The SGLang release that the table describes."""
    release: str = _table()["sglang"]
    return release


def quantization(method: str) -> Quantization | None:
    """The method with this `quant_method`; None: SGLang does not support it."""
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
