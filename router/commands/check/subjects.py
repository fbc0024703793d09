"""What to check: models by name, a models file, a directory, or the configured models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.app.configuration import Configuration
from router.config.errors import SettingsError, SettingsMistakes
from router.config.settings import SETTINGS

_NOTHING = "name a model or a models file, or set MODEL_NAME or MODELS_CONFIG"
_FILES = (".yaml", ".yml", ".json")
_OWN_MODELS = ("MODEL_NAME", "MODEL_REVISION", "SERVED_MODEL_NAME", "MODELS_CONFIG")


@dataclass(frozen=True, slots=True)
class Subject:
    """Names of models to check, and their configuration."""

    configuration: Configuration
    names: tuple[str, ...]


def subjects(given: Sequence[str], environ: Mapping[str, str]) -> Iterator[Subject]:
    """What to check for the command's arguments. Raises `SettingsError`.

    Without arguments, it is the models that the environment configures.
    """
    if not given:
        configuration = Configuration.read(environ)
        names = _names(configuration)
        if not names:
            raise SettingsMistakes([_NOTHING])
        yield Subject(configuration, names)
    for text in given:
        yield _subject(text, environ)


def _subject(text: str, environ: Mapping[str, str]) -> Subject:
    path = Path(text)
    bare = {name: value for name, value in environ.items() if name not in _variables()}
    if path.is_file() or text.endswith(_FILES):
        # As typed if possible, because errors repeat it.
        file = text if text.endswith(_FILES) else str(path.absolute())
        configuration = Configuration.read({**bare, "MODELS_CONFIG": file})
        return Subject(configuration, _names(configuration))
    if path.is_absolute():
        if not path.is_dir():
            raise SettingsError("MODEL", text, "a directory that exists")
        configuration = Configuration.read({**bare, "MODEL_NAME": text})
        return Subject(configuration, _names(configuration))
    return Subject(Configuration.read(environ), (text,))


def _names(configuration: Configuration) -> tuple[str, ...]:
    return tuple(model.name for model in configuration.catalog.models)


def _variables() -> frozenset[str]:
    """The names of all variables that set the operator's models."""
    return frozenset(name for one in _OWN_MODELS for name in SETTINGS[one].names)
