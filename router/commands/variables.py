"""Warns about variables that are probably misspelled settings."""

from __future__ import annotations

from collections.abc import Iterator

from engines import flags
from router.app.configuration import Configuration
from router.config.settings import SETTINGS
from router.config.typos import misspelled


def misspelled_variables(configuration: Configuration) -> Iterator[str]:
    """A warning for each variable that is probably a misspelled setting. Shows no values."""
    settings = (*SETTINGS.values(), *flags.SETTINGS.values())
    elsewhere = {*flags.GONE, *(model.token_env for model in configuration.catalog.models)}
    given = [name for name, value in configuration.environ.items() if value]
    known = {name for one in settings for name in one.names}
    for name, likely in misspelled(sorted({*given} - elsewhere), known):
        yield f"{name} is not a setting, and is ignored: did you mean {likely}?"
