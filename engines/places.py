"""Refuses flags that ask for GPUs that the worker does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from router.config.catalog import OperatorModel
from router.config.errors import SettingsError
from router.repository.flag_values import number_of
from router.repository.spread import first_gpu, spanned


def check_places(
    models: Iterable[OperatorModel], flags: tuple[str, ...], visible: Callable[[], int]
) -> None:
    """Raise `SettingsError` if the flags of an engine ask for GPUs that don't exist.

    `flags` are those of every engine. `visible` counts the GPUs that engines may use; it is
    called only if a flag chooses among them.
    """
    for key, asked in _flags(models, flags):
        if (number_of(asked, "--gpu-id-step") or 1) > 1:
            raise SettingsError(
                key,
                "--gpu-id-step",
                "left out: the GPUs of an engine follow each other. CUDA_VISIBLE_DEVICES may "
                "name them in another order",
            )
        count, base = spanned(asked), first_gpu(asked) or 0
        if count + base > 1 and (there := visible()) and base + count > there:
            raise SettingsError(
                key,
                f"{count} GPUs from number {base}",
                f"within the {there} that this worker sees (see --base-gpu-id, --tp-size, "
                "--pp-size and --dp-size)",
            )


def _flags(
    models: Iterable[OperatorModel], flags: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "the engines' flags", flags
    for model in models:
        yield f"{model.where}: flags", (*flags, *model.flags)
