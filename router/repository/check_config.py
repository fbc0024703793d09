"""Checks a repository's configuration files before an engine starts on them.

An engine opens the files that its model's configuration names, and it can read other callers'
snapshots. Values that lead out of the repository are therefore refused, even for models that
the operator trusts. Whether the model may run code is decided elsewhere
(`engines.command.environment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from router.errors import UnsupportedModel
from router.repository.check_dimensions import check_dimensions
from router.repository.read_json import printable, read_json
from router.repository.small_files import MODULES, is_configuration
from router.repository.weight_index import check_index
from router.repository.weight_names import SAFE, UNSAFE

# The checking process needs some milliseconds per megabyte.
MAX_TOTAL_BYTES = 16 << 20

# transformers and SGLang read the values of such keys as files or as further models.
_NAMES_A_PATH = re.compile(
    r"(?i)(file|path|dir|tower|checkpoint|tokenizer|encoder|processor|adapter|spm|weights"
    r"|model|config|backbone)s?(_name)?$"
)
# An engine would load these from the Hub, or from another caller's files in a cache.
_NAMES_A_REPOSITORY = frozenset(
    {"mm_vision_tower", "vision_tower", "audio_tokenizer_name_or_path", "backbone"}
)
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
# The place where the model was when it was saved. transformers writes these keys and never
# reads them.
_NEVER_READ = frozenset(
    {"_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file"}
)
# AutoGPTQ's notes on where it found the model. SGLang reads only the numbers beside them.
_NEVER_READ_IN = {
    "quantize_config.json": frozenset({"model_name_or_path", "model_file_base_name"}),
}
# Kernels are code, and `org/name` loads one from the Hub (CVE-2026-4372).
_KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?")

_LEADS_OUT = re.compile(
    r"(?s)/|\\|~|file:|[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]*://|(.*[/\\])?\.\.([/\\]|$)"
)


def check_config(snapshot: Path, weight_bytes: int | None = None) -> None:
    """Raises `UnsupportedModel`, which names the file and the key.

    `weight_bytes`: total size of the weights, if they are not downloaded yet.
    """
    for index in sorted(snapshot.rglob("*.index.json")):
        check_index(index, str(index.relative_to(snapshot)))
    if weight_bytes is None:
        weight_bytes = sum(
            file.stat().st_size
            for each in (SAFE, UNSAFE)
            for file in snapshot.rglob(f"*{each}")
        )
    files = sorted(file for file in snapshot.rglob("*.json") if is_configuration(file.name))
    if sum(file.stat().st_size for file in files) > MAX_TOTAL_BYTES:
        raise UnsupportedModel(
            f"The model's configuration files have more than {MAX_TOTAL_BYTES} bytes in all."
        )
    for file in files:
        name = str(file.relative_to(snapshot))
        content = _read(file, name)
        check_dimensions(name, content, weight_bytes)
        never_read = _NEVER_READ | _NEVER_READ_IN.get(file.name, frozenset())
        for key, value in _strings(content):
            if _KERNELS.fullmatch(key) and "/" in value:
                raise _refused(name, key, "names code on the Hub")
            if key not in never_read and _NAMES_A_PATH.search(key) and _leads_out(value):
                raise _refused(name, key, "leads out of the repository")
            if key in _NAMES_A_REPOSITORY and _is_elsewhere(value, snapshot):
                raise _refused(name, key, "names another repository")


def _leads_out(value: str) -> bool:
    return bool(_LEADS_OUT.match(value.strip()))  # a reader may strip it too


def _is_elsewhere(value: str, snapshot: Path) -> bool:
    return bool(_REPOSITORY.fullmatch(value)) and not (snapshot / value).exists()


def _read(file: Path, name: str) -> object:
    content = read_json(file, name)
    if not isinstance(content, list if file.name == MODULES else dict):
        called = "array" if file.name == MODULES else "object"
        raise UnsupportedModel(f"The model's {name} is not a JSON {called}.")
    return content


def _strings(content: object) -> Iterator[tuple[str, str]]:
    """Yield each string with the nearest key above it. Not recursive: the model sets the
    depth."""
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
        f"The model's {name} is not safe to load: `{printable(key[:64])}` {why}. Ask "
        "its owner to correct it."
    )
