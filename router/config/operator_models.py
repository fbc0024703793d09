"""The operator's models, from MODEL_NAME and MODELS_CONFIG."""

from __future__ import annotations

from router.config.catalog import Catalog, OperatorModel, with_default
from router.config.settings import Settings


def catalog(settings: Settings) -> Catalog:
    """Read the models. Raises `SettingsError`."""
    return with_default(settings, _listed(settings))


def _listed(settings: Settings) -> list[OperatorModel]:
    if settings.models_config is None:
        return []
    # Imported here: its libraries take a fifth of the worker's start, and most workers have no
    # such file.
    from router.config import models_file  # noqa: PLC0415

    return models_file.read(settings.models_config, settings.model_idle_ttl)
