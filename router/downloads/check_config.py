"""Checks a repository's configuration files before an engine starts on them.

An engine opens the files that its model's configuration names, and it can read other
callers' snapshots. A value that leads out of the repository is therefore refused, even for
models that the operator trusts. Whether the model may run code is decided elsewhere
(`engines.command.environment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from router.errors import UnsupportedModel

# The largest files in use describe quantization, and are below 1 MB.
MAX_FILE_BYTES = 4 << 20
# Each megabyte blocks the whole worker for some milliseconds.
MAX_TOTAL_BYTES = 64 << 20

# transformers and SGLang take the values of such keys for files or for further models.
_NAMES_A_PATH = re.compile(
    r"(?i)(file|path|dir|tower|checkpoint|tokenizer|encoder|processor|adapter|spm|weights"
    r"|model|config)(_name)?$"
)
# Where the model was when it was saved. transformers writes these keys and never reads them.
_NEVER_READ = frozenset(
    {"_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file"}
)
# Kernels are code, and `org/name` loads one from the Hub (CVE-2026-4372).
_KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?")

_LEADS_OUT = re.compile(
    r"/|\\|~|file:|[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]*://|(.*[/\\])?\.\.([/\\]|$)"
)


def check_config(snapshot: Path) -> None:
    """Raises `UnsupportedModel`, which names the file and the key."""
    files = sorted(snapshot.rglob("*config*.json"))
    if sum(file.stat().st_size for file in files) > MAX_TOTAL_BYTES:
        raise UnsupportedModel(
            f"The model's configuration files have more than {MAX_TOTAL_BYTES} bytes in all."
        )
    for file in files:
        name = str(file.relative_to(snapshot))
        for key, value in _strings(_read(file, name)):
            if _KERNELS.fullmatch(key) and "/" in value:
                raise _refused(name, key, "names code on the Hub")
            if key not in _NEVER_READ and _NAMES_A_PATH.search(key) and _LEADS_OUT.match(value):
                raise _refused(name, key, "leads out of the repository")


def _read(file: Path, name: str) -> object:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MAX_FILE_BYTES} bytes.")
    try:
        content = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnsupportedModel(f"The model's {name} is not valid JSON: {error.msg}.") from None
    if not isinstance(content, dict):
        raise UnsupportedModel(f"The model's {name} is not a JSON object.")
    return content


def _strings(content: object) -> Iterator[tuple[str, str]]:
    """Each string, with the nearest key above it. Not recursive: the model sets the depth."""
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
