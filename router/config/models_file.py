"""`MODELS_CONFIG`: the operator's models as YAML.

A list of entries (`models_schema.ModelEntry`), or a mapping with the key `models` and, if
needed, `groups`. An unknown or repeated key is an error. See examples/models.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from router.config.catalog import OperatorModel, as_source
from router.config.entries import EntriesFile, EntryPlace
from router.config.errors import MistakesSoFar, SettingsError
from router.config.models_schema import GroupEntry, ModelEntry, as_name
from router.config.sources import is_path
from router.models import ModelGroup, ModelRef

KEY = "MODELS_CONFIG"
_FILE = EntriesFile(KEY, root="models", noun="models", beside="groups")
_NEEDS = {"model": "org/name, or an absolute path"}
_GROUP_NEEDS = {"max_loaded": "a whole number"}

Groups = Mapping[str, ModelGroup] | None  # None: a model may name any group


def read(text: str, idle_ttl: float | None = None) -> list[OperatorModel]:
    """The models in the file at the path `text`, or in `text` itself if it is YAML."""
    if is_path(text):
        return parse(_FILE.contents(text), idle_ttl, text)
    return parse(text, idle_ttl)


def parse(
    text: str, idle_ttl: float | None = None, path: str | None = None
) -> list[OperatorModel]:
    """Read the YAML. `idle_ttl`, in seconds, is for entries without one. `path` is the YAML's
    file, for errors. Raises `SettingsError`."""
    mistakes, models = MistakesSoFar(), list[OperatorModel]()
    groups: Groups = None
    with mistakes.collecting():
        groups = _FILE.named(text, _group, path)
    with mistakes.collecting():
        models = _FILE.read(
            text, lambda where, entry: _entry(where, entry, idle_ttl, groups), path
        )
    for model in models:
        if model.pinned and (excluded := _kept_out(model, models)):
            mistakes.note(f"{model.where}: `pin` must be false: {excluded}")
    mistakes.raise_any()
    return models


def _group(where: EntryPlace, name: str, entry: object) -> ModelGroup:
    try:
        as_name(name)
    except ValueError as error:
        raise where.refusal("", name, str(error)) from None
    _, read = where.validated({} if entry is None else entry, GroupEntry, _GROUP_NEEDS)
    return ModelGroup(name, read.max_loaded, read.exclusive)


def _kept_out(pinned: OperatorModel, models: list[OperatorModel]) -> str:
    """Why a pinned model would keep other models out forever; "" if it would not."""
    group = pinned.group
    for other in models:
        if (alone := ModelGroup.between(group, other.group)) is not None:
            return f"the group `{alone.name}` excludes other models"
    if group is None:
        return ""
    members = [other for other in models if other.group == group]
    pins = sum(other.pinned for other in members)
    full = min(len(members), pins + 1) > group.max_loaded
    return f"the group `{group.name}` would have no place for its other models" if full else ""


def _entry(
    where: EntryPlace, entry: object, idle_ttl: float | None, groups: Groups
) -> OperatorModel:
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
        group=_group_of(where, read, groups),
        max_concurrency=read.max_concurrency,
        max_queue=read.max_queue,
    )


def _group_of(where: EntryPlace, read: ModelEntry, groups: Groups) -> ModelGroup | None:
    if read.group is None:
        return None
    if groups is None:
        return ModelGroup(read.group)
    if read.group not in groups:
        raise where.refusal("group", read.group, f"one that is listed in `{_FILE.beside}`")
    return groups[read.group]


def _source(where: EntryPlace, read: ModelEntry) -> ModelRef | Path:
    try:
        return as_source(KEY, read.model, read.revision)
    except SettingsError as error:
        raise where.refusal("model", read.model, error.allowed) from None
