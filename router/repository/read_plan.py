"""Reads a model's memory plan from its files, with or without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from router.errors import UnsupportedModel
from router.models import MemoryPlan
from router.repository.conditions import Conditions
from router.repository.files import RemoteFile
from router.repository.listing import MAX_FILES, Listing
from router.repository.memory_plan import Files, plan_of
from router.repository.model_config import model_config, readable
from router.repository.quantization import BESIDE, MODELOPT
from router.repository.read_facts import read_facts
from router.repository.tensor_headers import read_tensors
from router.repository.weight_names import SAFE, UNSAFE
from router.repository.weights import choose_weights, index_name

_WEIGHTS = (SAFE, UNSAFE, ".gguf", ".pt", ".pth")


def read_plan(snapshot: Path, on: Conditions, weight_bytes: int | None = None) -> MemoryPlan:
    """The plan of an engine with the flags of `on`. See `read_files` for the arguments."""
    return plan_of(read_files(snapshot, weight_bytes), on)


def read_files(snapshot: Path, weight_bytes: int | None = None) -> Files:
    """`weight_bytes`: total size of the weights, if they are not in `snapshot` yet.

    Never raises for the content of the files.
    """
    beside = {
        name: content
        for name in (MODELOPT, *BESIDE)
        if isinstance(content := readable(snapshot / name), dict)
    }
    config = model_config(snapshot)
    if weight_bytes is not None:
        return Files(config, weight_bytes, beside)
    files = _weights(snapshot)
    stored = sum(map(_size, files))
    safe = all(file.name.endswith(SAFE) for file in files)
    tensors = read_tensors(files) if files and safe else None
    known = None if tensors is None else tuple(tensors)
    return Files(config, stored, beside, known)


def _weights(snapshot: Path) -> list[Path]:
    """The weight files that an engine loads; all of them if that can't be determined."""
    names = list(islice(_names(snapshot), MAX_FILES))
    with suppress(OSError, UnsupportedModel):
        listing = Listing.of(RemoteFile(name, _size(snapshot / name), "") for name in names)
        # SGLang recognizes some models by the path, which contains the repository's name.
        index = index_name(listing, str(snapshot))
        facts = read_facts(snapshot, index)
        chosen = choose_weights(listing, facts, str(snapshot), unsafe_weights=True)
        if chosen:
            return [snapshot / name for name in chosen]
    top = (snapshot / name for name in names if "/" not in name)
    return [file for file in top if file.suffix in _WEIGHTS]


def _names(snapshot: Path) -> Iterator[str]:
    with suppress(OSError):
        for file in snapshot.rglob("*"):
            if file.is_file():
                yield file.relative_to(snapshot).as_posix()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
