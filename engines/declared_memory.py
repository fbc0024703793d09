"""Refuses a `memory` entry in the models file that is too small for the model's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from router.config.catalog import OperatorModel
from router.config.errors import MistakesSoFar, SettingsError
from router.models import ModelRef
from router.repository.conditions import Conditions
from router.repository.read_plan import read_plan

_GIB = 1 << 30
_STEP = _GIB // 10  # bytes; messages round up to a tenth of a GiB


def check_declared(
    models: Iterable[OperatorModel],
    flags: tuple[str, ...],
    on_disk: Callable[[ModelRef], Path | None],
) -> None:
    """Raise `SettingsError` if a model's declared memory can't hold its weights.

    `flags` are those of every engine. `on_disk` returns the directory of a model's files, or
    None if they are not downloaded. Such a model is checked at its first request instead.
    """
    mistakes = MistakesSoFar()
    for model in models:
        if model.memory is None:
            continue
        directory = model.source if isinstance(model.source, Path) else on_disk(model.source)
        if directory is None:
            continue
        with mistakes.collecting():
            _check(model.memory, model, directory, flags)
    mistakes.raise_any()


def _check(memory: int, model: OperatorModel, directory: Path, flags: tuple[str, ...]) -> None:
    weights = read_plan(directory, Conditions(flags=(*flags, *model.flags))).weights
    if memory < weights:
        least = -(-weights // _STEP) * _STEP / _GIB
        raise SettingsError(
            f"{model.where}: memory",
            f"{memory / _GIB:.1f}GiB",
            f"more than its weights, which take {least:.1f}GiB of each GPU",
        )
