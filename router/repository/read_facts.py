"""Reads from a repository's small files what determines its weights."""

from __future__ import annotations

import re
from pathlib import Path

from router.repository.adapters import ADAPTER_CONFIG
from router.repository.architectures import named
from router.repository.check_dimensions import least_bytes
from router.repository.read_json import read_json
from router.repository.small_files import MODULES
from router.repository.weight_index import indexed_files
from router.repository.weights import Facts

_FOLDER = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
_MAX_MODULES = 64


def read_facts(snapshot: Path, index: str | None) -> Facts:
    """`index`: the name of the index of weights, if there is one.

    Raises `UnsupportedModel` for a file that an engine could not read, either.
    """
    config = _object(snapshot, "config.json")
    return Facts(
        architectures=named(config),
        next_token_layers=_layers(config),
        module_folders=_module_folders(snapshot),
        indexed=indexed_files(snapshot / index, index) if index else None,
        least_bytes=least_bytes(config),
    )


def read_adapter(snapshot: Path) -> object:
    """The content of `adapter_config.json`; None if there is none."""
    file = snapshot / ADAPTER_CONFIG
    return read_json(file, ADAPTER_CONFIG) if file.is_file() else None


def _object(snapshot: Path, name: str) -> dict[str, object]:
    file = snapshot / name
    content = read_json(file, name) if file.is_file() else None
    return content if isinstance(content, dict) else {}


def _layers(config: dict[str, object]) -> int:
    text = config.get("text_config")
    for part in (text, config):
        layers = part.get("num_nextn_predict_layers") if isinstance(part, dict) else None
        if isinstance(layers, int):
            return layers
    return 0


def _module_folders(snapshot: Path) -> tuple[str, ...]:
    file = snapshot / MODULES
    modules = read_json(file, MODULES) if file.is_file() else None
    paths = (
        module.get("path")
        for module in (modules[:_MAX_MODULES] if isinstance(modules, list) else ())
        if isinstance(module, dict)
    )
    return tuple(path for path in paths if isinstance(path, str) and _FOLDER.fullmatch(path))
