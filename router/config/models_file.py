"""`MODELS_CONFIG`: the operator's models as YAML.

A list of entries (`models_schema.ModelEntry`), or a mapping with the one key `models`. An
unknown or repeated key is an error. examples/models.yaml shows one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import yaml
from pydantic import ValidationError

from router.config.catalog import OperatorModel, as_source
from router.config.errors import SettingsError
from router.config.models_schema import ModelEntry

KEY = "MODELS_CONFIG"
_MAX_CHARS = 256 * 1024


def read(text: str, idle_ttl: float | None = None) -> list[OperatorModel]:
    """The models of the file that `text` names, or of the YAML that it is."""
    return parse(_contents(text), idle_ttl)


def parse(text: str, idle_ttl: float | None = None) -> list[OperatorModel]:
    """Read the YAML; `idle_ttl` is for entries without one. Raises `SettingsError`."""
    if len(text) > _MAX_CHARS:
        raise SettingsError(KEY, f"{len(text)} characters", f"at most {_MAX_CHARS}")
    try:
        # SafeLoader's, with one more check: it builds plain values and nothing else.
        document = yaml.load(text, _StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise SettingsError(KEY, text, f"YAML: {_complaint(error)}") from None
    except RecursionError:
        raise SettingsError(KEY, text, "YAML that is not nested so deeply") from None
    if isinstance(document, dict) and set(document) == {"models"}:
        document = document["models"]
    if not isinstance(document, list):
        raise SettingsError(KEY, document, "the path of a YAML file, or a list of models")
    return [_entry(f"{KEY}[{n}]", entry, idle_ttl) for n, entry in enumerate(document)]


def _contents(text: str) -> str:
    """The text itself, or the contents of the file that it names."""
    if "\n" in text or not (text.startswith("/") or text.endswith((".yaml", ".yml", ".json"))):
        return text
    try:
        with Path(text).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(KEY, text, f"a file that can be read ({reason})") from None


def _entry(where: str, entry: object, idle_ttl: float | None) -> OperatorModel:
    read = _validated(where, entry)
    return OperatorModel(
        source=as_source(f"{where}.model", read.model, read.revision),
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


def _validated(where: str, entry: object) -> ModelEntry:
    if not isinstance(entry, dict):
        raise SettingsError(where, entry, "a mapping with the key `model`")
    try:
        return ModelEntry.model_validate({k: v for k, v in entry.items() if v is not None})
    except ValidationError as error:
        raise _refusal(where, error) from None


def _refusal(where: str, error: ValidationError) -> SettingsError:
    """One thing wrong: its entry and key, what was there, and what is allowed.

    An unknown key first: `modl` is why `model` is missing.
    """
    wrong = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    key = wrong["loc"][0]
    match wrong["type"]:
        case "missing":
            return SettingsError(f"{where}.{key}", "", "org/name, or an absolute path")
        case "value_error":
            return SettingsError(f"{where}.{key}", wrong["input"], str(wrong["ctx"]["error"]))
    return SettingsError(where, key, f"a key among {', '.join(ModelEntry.model_fields)}")


class _StrictLoader(yaml.SafeLoader):
    """Refuses a repeated key, which is what a forgotten dash between two models looks like."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's
    ) -> dict[Hashable, object]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if repeated := [key for key, times in Counter(keys).items() if times > 1]:
            problem = f"the key `{repeated[0]}` stands twice in one mapping"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def _complaint(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the text around it, which may be anything."""
    problem = getattr(error, "problem", None) or "not readable"
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"{problem} (line {mark.line + 1})"
