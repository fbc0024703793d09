"""Reads the memory and start time of each model from `check --json` or `ps --json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST = 1e15  # bytes or seconds; more can't be true


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of a device and seconds of a start; None: unknown."""

    memory: int | None = None
    start: float | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """Needs by model, and the bytes that a worker has for all models (None: unknown)."""

    needs: dict[str, Need]
    budget: int | None = None


def read_sizes(files: list[Path]) -> Sizes:
    """Read the files; later ones win. Raises `OSError`, `ValueError`."""
    needs: dict[str, Need] = {}
    budget: int | None = None
    for file in files:
        document = _document(file)
        if not isinstance(document, dict):
            told = f"{file} is not the output of `check --json` or `ps --json`"
            raise ValueError(told)  # noqa: TRY004  as for any damaged file
        try:
            for one in _workers(document):
                needs |= dict(_needs(one))
                budget = _budget(one) or budget
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{file} is damaged: {error!r}") from None
    return Sizes(needs, budget)


def _document(file: Path) -> object:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{file} is not JSON") from None


def _workers(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of a fleet's replicas that answered; for a worker, only its own."""
    if "replicas" not in document:
        return [document]
    return [one["state"] for one in document["replicas"] if one["state"] is not None]


def _needs(document: dict[str, Any]) -> Iterator[tuple[str, Need]]:
    for engine in document.get("engines", ()):  # of a worker's state
        start = engine.get("last_start") or {}
        yield (
            engine["model"],
            Need(_positive(engine.get("claim_bytes")), _positive(start.get("seconds"))),
        )
    models = document.get("models", ())
    for model in models if "can_be_served" in document else ():  # of a check
        memory = model.get("memory") or {}
        need = Need(_positive(memory.get("claim_bytes")), _positive(model.get("start_seconds")))
        for name in (model.get("model"), model.get("name"), model.get("repository")):
            if name:
                yield name, need


def _budget(document: dict[str, Any]) -> int | None:
    if "budget_bytes" in document:
        found = _positive(document["budget_bytes"])
    else:
        found = _positive(sum(one["budget_bytes"] for one in document.get("devices", ())))
    return None if found is None else int(found)


def _positive(value: Any) -> Any:  # noqa: ANN401  JSON
    """The number; None if it is missing, absurd, or not positive. Raises `TypeError`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value if 0 < value <= _MOST else None
