"""Finds the size of a model's vocabulary in its files, because SGLang does not report it.

SGLang 0.5.23 does not check the token ids of a request, and a token id that is too high kills
it. It takes the size from the configuration of the model's text part. If that leaves it out,
because transformers has it as a default (Gemma 3), this module counts the embedding's rows.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import orjson

from router.repository.read_json import MAX_FILE_BYTES

_MOST_BYTES = 64 << 20  # of a header or an index; those of the largest models have about 20 MB
_MOST_FILES = 8  # whose headers are read
# The keys of the text part's configuration. The first one that exists counts, as in SGLang's
# `get_hf_text_config`.
_TEXT_PARTS = ("thinker_config", "llm_config", "language_config", "text_config")
_EMBEDDINGS = (
    *("embed_tokens.weight", "word_embeddings.weight", "tok_embeddings.weight"),
    *("wte.weight", "embed_in.weight", "word_embedding.weight"),
)

Json = Mapping[str, object]


def vocabulary(snapshot: Path) -> int | None:
    """The number of tokens; None if the files do not say. Never raises because of them."""
    config = _object(snapshot / "config.json")
    return _size(_text_part(config).get("vocab_size")) or _rows(snapshot)


def _text_part(config: Json) -> Json:
    for name in _TEXT_PARTS:
        part = config.get(name)
        if isinstance(part, dict):
            inner = part.get("text_config") if name == "thinker_config" else None
            return inner if isinstance(inner, dict) else part
    return config


def _rows(snapshot: Path) -> int | None:
    """The rows of the embedding, from the header of the file that holds it."""
    placed = _object(snapshot / "model.safetensors.index.json").get("weight_map")
    listed = placed if isinstance(placed, dict) else {"": "model.safetensors"}
    files = {
        Path(file).name: None  # without duplicates: an index names a file for every tensor
        for name, file in listed.items()
        if isinstance(file, str) and (not name or name.endswith(_EMBEDDINGS))
    }
    for file in [*files][:_MOST_FILES]:
        for tensor, entry in _header(snapshot / file).items():
            shape = entry.get("shape") if isinstance(entry, dict) else None
            if tensor.endswith(_EMBEDDINGS) and isinstance(shape, list) and shape:
                return _size(shape[0])
    return None


def _size(number: object) -> int | None:
    return number if type(number) is int and number > 0 else None


def _header(file: Path) -> Json:
    """The header of a safetensors file: its length in 8 bytes, then JSON."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            return _parsed(opened.read(length)) if length <= _MOST_BYTES else {}
    except (OSError, ValueError, struct.error):  # ValueError: no file can have such a name
        return {}


def _object(file: Path) -> Json:
    try:
        return _parsed(file.read_bytes()) if file.stat().st_size <= _MOST_BYTES else {}
    except OSError:
        return {}


def _parsed(content: bytes) -> Json:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        parsed = _as_python_reads_it(content)
    return parsed if isinstance(parsed, dict) else {}


def _as_python_reads_it(content: bytes) -> object:
    """Parse JSON with `Infinity` and the like, which an engine accepts. Slow, so only for a
    file as small as a configuration."""
    try:
        return json.loads(content) if len(content) <= MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        return None
