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
from router.repository.check_dimensions import check_dimensions
from router.repository.select_files import SAFE, UNSAFE

# The largest files in use describe quantization, and are below 1 MB.
MAX_FILE_BYTES = 4 << 20
# Each megabyte blocks the whole worker for some milliseconds.
MAX_TOTAL_BYTES = 8 << 20

# A megabyte takes a millisecond. DeepSeek-V3's index has 9 MB.
MAX_INDEX_BYTES = 128 << 20
_CHUNK = 1 << 20  # bytes; between two, the other threads get their turn

# transformers and SGLang take the values of such keys for files or for further models.
_NAMES_A_PATH = re.compile(
    r"(?i)(file|path|dir|tower|checkpoint|tokenizer|encoder|processor|adapter|spm|weights"
    r"|model|config|backbone)s?(_name)?$"
)
# An engine would load these from the Hub, or from another caller's files in a cache.
_NAMES_A_REPOSITORY = frozenset(
    {"mm_vision_tower", "vision_tower", "audio_tokenizer_name_or_path", "backbone"}
)
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
# Where the model was when it was saved. transformers writes these keys and never reads them.
_NEVER_READ = frozenset(
    {"_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file"}
)
# Kernels are code, and `org/name` loads one from the Hub (CVE-2026-4372).
_KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?")

_LEADS_OUT = re.compile(
    r"/|\\|~|file:|[A-Za-z]:\\|[A-Za-z][A-Za-z0-9+.-]*://|(.*[/\\])?\.\.([/\\]|$)"
)
# In an index of weights: a name that begins with a slash, goes up, or hides either.
_INDEX_LEADS_OUT = re.compile(rb'"[/~]|\.\.[/"]|\\')
_OVERLAP = 2  # bytes: one less than the longest match


def check_config(snapshot: Path, weight_bytes: int | None = None) -> None:
    """Raises `UnsupportedModel`, which names the file and the key.

    `weight_bytes`: of the weights, where they are not downloaded yet.
    """
    for index in sorted(snapshot.rglob("*.index.json")):
        _check_index(index, str(index.relative_to(snapshot)))
    if weight_bytes is None:
        weight_bytes = sum(
            file.stat().st_size
            for each in (SAFE, UNSAFE)
            for file in snapshot.rglob(f"*{each}")
        )
    files = sorted(
        file
        for pattern in ("*config*.json", "modules.json", "params.json")
        for file in snapshot.rglob(pattern)
    )
    if sum(file.stat().st_size for file in files) > MAX_TOTAL_BYTES:
        raise UnsupportedModel(
            f"The model's configuration files have more than {MAX_TOTAL_BYTES} bytes in all."
        )
    for file in files:
        name = str(file.relative_to(snapshot))
        content = _read(file, name)
        check_dimensions(name, content, weight_bytes)
        for key, value in _strings(content):
            if _KERNELS.fullmatch(key) and "/" in value:
                raise _refused(name, key, "names code on the Hub")
            if key not in _NEVER_READ and _NAMES_A_PATH.search(key) and _LEADS_OUT.match(value):
                raise _refused(name, key, "leads out of the repository")
            if key in _NAMES_A_REPOSITORY and _is_elsewhere(value, snapshot):
                raise _refused(name, key, "names another repository")


def check_aside(_data: bytes, snapshot: Path) -> tuple[None, bytes]:
    """`check_config` in a side process: 64 MiB of JSON hold Python's lock for seconds."""
    check_config(snapshot)
    return None, b""


def _is_elsewhere(value: str, snapshot: Path) -> bool:
    return bool(_REPOSITORY.fullmatch(value)) and not (snapshot / value).exists()


def _check_index(file: Path, name: str) -> None:
    """Which file of the repository holds which weight. Scanned and not parsed: it is large."""
    if file.stat().st_size > MAX_INDEX_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MAX_INDEX_BYTES} bytes.")
    with file.open("rb") as stream:
        before = b""
        while chunk := stream.read(_CHUNK):
            if _INDEX_LEADS_OUT.search(before + chunk):
                raise _refused(name, "weight_map", "leads out of the repository")
            before = chunk[-_OVERLAP:]


def _read(file: Path, name: str) -> object:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MAX_FILE_BYTES} bytes.")
    try:
        content = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UnsupportedModel(f"The model's {name} is not valid JSON: {error.msg}.") from None
    if not isinstance(content, list if file.name == "modules.json" else dict):
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
