"""What a repository's configuration may say. Read before an engine is started on it.

An engine opens what its model's configuration names, and it can read other callers'
snapshots: a value that leads out of the repository is refused, whoever trusts it. What it
may run is not decided here (`engines.command.environment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from router.errors import UnsupportedModel

MOST_BYTES = 4 << 20  # of one file; the largest in use are quantisation's, below 1 MB
MOST_IN_ALL = 64 << 20  # bytes: each megabyte holds the whole worker up for some milliseconds

# Under such keys transformers and SGLang look for files, or for further models.
_POINTS = re.compile(
    r"(?i)(file|path|dir|tower|checkpoint|tokenizer|encoder|processor|adapter|spm|weights"
    r"|model|config)(_name)?$"
)
# Where the model lay when it was saved: written by the library, and not read by it.
_LEFT_BEHIND = frozenset(
    {"_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file"}
)
# Kernels are code: `org/name` means one from the Hub (CVE-2026-4372).
_KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?")

_LEADS_OUT = re.compile(
    r"/|\\|~|file:|[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]*://|(.*[/\\])?\.\.([/\\]|$)"
)


def inspect(snapshot: Path) -> None:
    """Raises `UnsupportedModel`, naming the file and the key."""
    files = sorted(snapshot.rglob("*config*.json"))
    if sum(file.stat().st_size for file in files) > MOST_IN_ALL:
        raise UnsupportedModel(
            f"The model's configuration files have more than {MOST_IN_ALL} bytes in all."
        )
    for file in files:
        name = str(file.relative_to(snapshot))
        for key, value in _strings(_read(file, name)):
            if _KERNELS.fullmatch(key) and "/" in value:
                raise _refused(name, key, "names code on the Hub")
            if key not in _LEFT_BEHIND and _POINTS.search(key) and _LEADS_OUT.match(value):
                raise _refused(name, key, "leads out of the repository")


def _read(file: Path, name: str) -> object:
    if file.stat().st_size > MOST_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MOST_BYTES} bytes.")
    try:
        content = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnsupportedModel(f"The model's {name} is not valid JSON: {error.msg}.") from None
    if not isinstance(content, dict):
        raise UnsupportedModel(f"The model's {name} is no JSON object.")
    return content


def _strings(content: object) -> Iterator[tuple[str, str]]:
    """Each string with the nearest key above it. Not recursive: the depth is the model's."""
    left = [("", content)]
    while left:
        key, value = left.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += ((key, item) for item in value)


def _refused(name: str, key: str, why: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"The model's {name} is not safe to load: `{key[:64]}` {why}. Ask its owner to "
        "correct it."
    )
