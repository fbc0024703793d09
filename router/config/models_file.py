"""`MODELS_CONFIG`: the operator's models as YAML.

A list of entries (`models_schema.ModelEntry`), or a mapping with the one key `models`. An
unknown or repeated key is an error. examples/models.yaml shows one.
"""

from __future__ import annotations

from pathlib import Path

from router.config.catalog import OperatorModel, as_source
from router.config.entries import EntriesFile, EntryPlace
from router.config.errors import SettingsError
from router.config.models_schema import ModelEntry
from router.config.sources import is_path
from router.models import ModelRef

KEY = "MODELS_CONFIG"
_FILE = EntriesFile(KEY, root="models", noun="models")
_NEEDS = {"model": "org/name, or an absolute path"}


def read(text: str, idle_ttl: float | None = None) -> list[OperatorModel]:
    """The models of the file that `text` names, or of the YAML that it is."""
    if is_path(text):
        return parse(_FILE.contents(text), idle_ttl, text)
    return parse(text, idle_ttl)


def parse(
    text: str, idle_ttl: float | None = None, path: str | None = None
) -> list[OperatorModel]:
    """Read the YAML; `idle_ttl` is for entries without one. `path`: of its file, for errors.
    Raises `SettingsError`."""
    return _FILE.read(text, lambda where, entry: _entry(where, entry, idle_ttl), path)


def _entry(where: EntryPlace, entry: object, idle_ttl: float | None) -> OperatorModel:
    where, read = where.validated(entry, ModelEntry, _NEEDS)
    return OperatorModel(
        source=_source(where, read),
        where=where.name,
        aliases=read.aliases,
        flags=read.flags,
        task=read.task,
        pinned=read.pin,
        preload=read.preload,
        idle_ttl=read.idle_ttl if "idle_ttl" in read.model_fields_set else idle_ttl,
        memory=read.memory,
        token_env=read.token_env,
        trust_remote_code=read.trust_remote_code,
    )


def _source(where: EntryPlace, read: ModelEntry) -> ModelRef | Path:
    try:
        return as_source(KEY, read.model, read.revision)
    except SettingsError as error:
        raise where.refusal("model", read.model, error.allowed) from None
