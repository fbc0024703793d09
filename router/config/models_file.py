"""`MODELS_CONFIG`: the operator's models as YAML.

A list of entries (`models_schema.ModelEntry`), or a mapping with the one key `models`. An
unknown or repeated key is an error. examples/models.yaml shows one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from router.config.catalog import OperatorModel, as_source
from router.config.errors import SettingsError
from router.config.models_schema import ModelEntry
from router.models import ModelRef

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
        document, lines = _read(text)
    except yaml.YAMLError as error:
        raise SettingsError(KEY, text, f"YAML: {_complaint(error)}") from None
    except RecursionError:
        raise SettingsError(KEY, text, "YAML that is not nested so deeply") from None
    if isinstance(document, dict) and set(document) == {"models"}:
        document = document["models"]
    if not isinstance(document, list):
        raise SettingsError(KEY, document, "the path of a YAML file, or a list of models")
    return [
        _entry(EntryPlace(f"{KEY}[{n}]", lines.get(n, {})), entry, idle_ttl)
        for n, entry in enumerate(document)
    ]


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


def _read(text: str) -> tuple[object, Mapping[int, Mapping[str, int]]]:
    """The document, and the lines on which the keys of its entries stand. Raises `YAMLError`.

    The loader is SafeLoader with one more check: it builds plain values and nothing else.
    """
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), _lines(node)
    finally:
        loader.dispose()


def _lines(node: yaml.Node | None) -> Mapping[int, Mapping[str, int]]:
    """By the number of an entry and a key of it; an entry's own line by the empty key."""
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        node = node.value[0][1]  # below `models`
    if not isinstance(node, yaml.SequenceNode):
        return {}
    found: dict[int, dict[str, int]] = {}
    for number, entry in enumerate(node.value):
        keys = entry.value if isinstance(entry, yaml.MappingNode) else ()
        found[number] = {"": entry.start_mark.line + 1} | {
            str(key.value): key.start_mark.line + 1 for key, _ in keys
        }
    return found


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """An entry of the file."""

    name: str
    lines: Mapping[str, int]  # of its keys; its own by the empty one

    def refusal(self, key: str, value: object, allowed: str, at: str = "") -> SettingsError:
        """`key`: that is wrong; empty: the entry itself. `at`: the key whose line it is."""
        line = self.lines.get(at or key, self.lines.get(""))
        where = "" if line is None else f" (line {line})"
        named = f"{self.name}.{key}" if key else self.name
        return SettingsError(named, value, allowed + where)


def _entry(where: EntryPlace, entry: object, idle_ttl: float | None) -> OperatorModel:
    read = _validated(where, entry)
    return OperatorModel(
        source=_source(where, read),
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


def _validated(where: EntryPlace, entry: object) -> ModelEntry:
    if not isinstance(entry, dict):
        raise where.refusal("", entry, "a mapping with the key `model`")
    try:
        return ModelEntry.model_validate({k: v for k, v in entry.items() if v is not None})
    except ValidationError as error:
        raise _refusal(where, error) from None


def _refusal(where: EntryPlace, error: ValidationError) -> SettingsError:
    """One thing wrong: its entry and key, what was there, and what is allowed.

    An unknown key first: `modl` is why `model` is missing.
    """
    wrong = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    found = wrong["loc"][0]
    key = str(found)
    match wrong["type"]:
        case "missing":
            return where.refusal(key, "", "org/name, or an absolute path")
        case "value_error":
            return where.refusal(key, wrong["input"], str(wrong["ctx"]["error"]))
    keys = ", ".join(ModelEntry.model_fields)
    return where.refusal("", found, f"a key among {keys}", at=key)


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
