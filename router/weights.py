"""Which of a repository's files an engine needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from router.disk import RemoteFile
from router.errors import UnsupportedModel

SAFE = ".safetensors"
# Pickles run code when loaded: only where the operator allows them.
UNSAFE = ".bin"
_OTHER_WEIGHTS = (".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack")
_BESIDE_WEIGHTS = frozenset(
    (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe", ".vocab", ".py")
)


def wanted(files: Iterable[RemoteFile], *, unsafe_weights: bool) -> list[RemoteFile]:
    """The weights in one format, and what stands beside them: configuration, tokenizer, code.

    Raises `UnsupportedModel` where there are no weights, or none in a format that is safe.
    """
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
