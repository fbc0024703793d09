"""Checks the small files of a snapshot, before its weights are loaded and an engine starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from router.errors import UnsupportedModel
from router.models import MemoryPlan
from router.repository.check_config import check_config
from router.repository.check_vectors import check_vectors
from router.repository.conditions import Conditions
from router.repository.fitness import Layout, check_fitness
from router.repository.memory_plan import check_plan
from router.repository.quantization import BESIDE, MODELOPT
from router.repository.read_json import read_json
from router.repository.read_plan import read_files
from router.repository.spread import spread_plan


def check_snapshot(
    snapshot: Path, conditions: Conditions | None, weight_bytes: int | None = None
) -> None:
    """Raises `UnsupportedModel`.

    `conditions`: of the planned start; None: unknown, so anything may be served.
    `weight_bytes`: total size of the weights, if they are not downloaded yet.
    """
    check_config(snapshot, weight_bytes)
    if conditions is not None:
        check_fitness(read_layout(snapshot), conditions)
    check_vectors(snapshot)


def planned(
    snapshot: Path, conditions: Conditions | None, weight_bytes: int | None = None
) -> MemoryPlan | None:
    """The memory plan of an engine; None: the start is unknown.

    Raises `ModelTooLarge` if the GPUs can't hold it. Takes the arguments of `check_snapshot`.
    """
    if conditions is None:
        return None
    plan, made_for = spread_plan(read_files(snapshot, weight_bytes), conditions)
    check_plan(plan, made_for)
    return plan


def judge(
    _data: bytes, snapshot: Path, conditions: Conditions | None
) -> tuple[MemoryPlan | None, bytes]:
    """Check and plan in a side process: parsing 64 MiB of JSON holds the GIL for seconds."""
    check_snapshot(snapshot, conditions)
    return planned(snapshot, conditions), b""


def judge_operators(
    _data: bytes, directory: Path, conditions: Conditions | None
) -> tuple[MemoryPlan | None, bytes]:
    """The same for a directory of the operator's, which may have any configuration."""
    if conditions is not None:
        check_fitness(read_layout(directory), conditions)
    return planned(directory, conditions), b""


def read_layout(snapshot: Path) -> Layout:
    """Raises `UnsupportedModel` for a file that no engine could read, either."""
    return Layout(
        str(snapshot),
        frozenset(file.name for file in snapshot.iterdir()),
        _object(snapshot / "config.json"),
        _object(snapshot / "tokenizer_config.json") or {},
        {
            name: content
            for name in (MODELOPT, *BESIDE)
            if (content := _object(snapshot / name)) is not None
        },
    )


def _object(file: Path) -> dict[str, Any] | None:
    """None: there is no such file."""
    if not file.is_file():
        return None
    content = read_json(file, file.name)
    if not isinstance(content, dict):
        raise UnsupportedModel(f"The model's {file.name} is not a JSON object.")
    return content
