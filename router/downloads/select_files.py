"""Which of a repository's files an engine needs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from router.downloads.snapshots import RemoteFile
from router.errors import UnsupportedModel

SAFE = ".safetensors"
# Pickles run code when loaded: only where the operator allows them.
UNSAFE = ".bin"
_OTHER_WEIGHTS = (".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack")
_BESIDE_WEIGHTS = frozenset(
    (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe", ".vocab", ".py")
)


MOST_FILES = 10_000
_SAFE_NAME = re.compile(r"[^\x00-\x1f\\\x7f]{1,512}")


def wanted(files: Iterable[RemoteFile], *, unsafe_weights: bool) -> list[RemoteFile]:
    """The weights in one format, and what stands beside them: configuration, tokenizer, code.

    Raises `UnsupportedModel` where there are no weights, or none in a format that is safe,
    too many files, or one whose name leads out of the repository.
    """
    files = list(itertools.islice(files, MOST_FILES + 1))  # the listing may have no end
    if len(files) > MOST_FILES:
        raise UnsupportedModel(f"The repository holds more than {MOST_FILES} files.")
    if not all(_is_safe(file.name) for file in files):
        raise UnsupportedModel("The repository holds a file whose name is not safe on disk.")
    # `original/` holds the same weights in their makers' own layout.
    files = [file for file in files if not file.name.startswith("original/")]
    weights = _weights(files, SAFE)
    if not weights and unsafe_weights:
        weights = _weights(files, UNSAFE)
    if not weights:
        raise UnsupportedModel(_why_not(files))
    return weights + [
        file for file in files if PurePosixPath(file.name).suffix in _BESIDE_WEIGHTS
    ]


def _is_safe(name: str) -> bool:
    return bool(_SAFE_NAME.fullmatch(name)) and not {"", ".", ".."} & set(name.split("/"))


def _weights(files: list[RemoteFile], suffix: str) -> list[RemoteFile]:
    found = [file for file in files if file.name.endswith(suffix)]
    # Mistral's repositories hold everything twice: `consolidated*` and `model*`.
    once = [file for file in found if not file.name.startswith("consolidated")]
    return once if any("/" not in file.name for file in once) else found


def _why_not(files: list[RemoteFile]) -> str:
    formats = (UNSAFE, *_OTHER_WEIGHTS)
    there = sorted({PurePosixPath(file.name).suffix for file in files} & set(formats))
    if not there:
        return "The repository holds no weights."
    return (
        f"The repository holds weights only as {', '.join(there)}; this worker loads "
        "safetensors. Ask its owner for a conversion."
    )
