"""Selects the files of a repository that an engine needs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from router.errors import UnsupportedModel
from router.repository.files import RemoteFile

SAFE = ".safetensors"
# Pickles run code when they are loaded, so the operator has to allow them.
UNSAFE = ".bin"
_OTHER_WEIGHTS = (".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack")
_BESIDE_WEIGHTS = frozenset(
    (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe", ".vocab", ".py")
)

MAX_FILES = 10_000
_SAFE_NAME = re.compile(r"[^\x00-\x1f\\\x7f]{1,512}")


def select_files(files: Iterable[RemoteFile], *, unsafe_weights: bool) -> list[RemoteFile]:
    """The weights in one format, and the configuration, tokenizer and code beside them.

    Raises `UnsupportedModel` if the repository has no weights, or none in a safe format;
    if it has too many files; or if a file's name leads out of the repository.
    """
    files = list(itertools.islice(files, MAX_FILES + 1))  # the listing may be endless
    if len(files) > MAX_FILES:
        raise UnsupportedModel(f"The repository has more than {MAX_FILES} files.")
    if not all(_is_safe(file.name) for file in files):
        raise UnsupportedModel(
            "The repository has a file with a name that is not safe on disk."
        )
    # `original/` holds the same weights in the publisher's own layout.
    files = [file for file in files if not file.name.startswith("original/")]
    weights = _weights(files, SAFE)
    if not weights and unsafe_weights:
        weights = _weights(files, UNSAFE)
    if not weights:
        raise UnsupportedModel(_reason(files))
    return weights + [
        file for file in files if PurePosixPath(file.name).suffix in _BESIDE_WEIGHTS
    ]


def _is_safe(name: str) -> bool:
    return bool(_SAFE_NAME.fullmatch(name)) and not {"", ".", ".."} & set(name.split("/"))


def _weights(files: list[RemoteFile], suffix: str) -> list[RemoteFile]:
    found = [file for file in files if file.name.endswith(suffix)]
    # Mistral's repositories hold all weights twice: as `consolidated*` and as `model*`.
    without_copies = [file for file in found if not file.name.startswith("consolidated")]
    return without_copies if any("/" not in file.name for file in without_copies) else found


def _reason(files: list[RemoteFile]) -> str:
    formats = (UNSAFE, *_OTHER_WEIGHTS)
    present = sorted({PurePosixPath(file.name).suffix for file in files} & set(formats))
    if not present:
        return "The repository holds no weights."
    return (
        f"The repository holds weights only as {', '.join(present)}; this worker loads "
        "safetensors. Ask its owner for a conversion."
    )
