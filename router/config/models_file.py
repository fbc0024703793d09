"""`MODELS_CONFIG`: the operator's models as YAML.

    - model: org/name@v1          # or an absolute path
      aliases: [small, gpt-4o-mini]
      flags: {context-length: 8192, enable-metrics: true}
      memory: 20GiB
      pin: true

Other keys: revision, task (generate, embed, classify), preload, idle_ttl (seconds or
`off`), token_env, trust_remote_code. A list of entries, or a mapping with the one key
`models`. An unknown or repeated key is an error.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

import yaml

from router.config.catalog import Catalog, OperatorModel, as_source, with_default
from router.config.environ import SettingsError, as_arguments, as_flag, as_size, as_ttl, one_of
from router.config.settings import Settings
from router.models import Task

T = TypeVar("T")

KEY = "MODELS_CONFIG"
_MAX_CHARS = 256 * 1024


def catalog(settings: Settings) -> Catalog:
    """The operator's models, from MODEL_NAME and MODELS_CONFIG. Raises `SettingsError`."""
    text = settings.models_config
    listed = [] if text is None else parse(_contents(text), settings.model_idle_ttl)
    return with_default(settings, listed)


def parse(text: str, idle_ttl: float | None = None) -> list[OperatorModel]:
    """Read the YAML; `idle_ttl` is for entries without one. Raises `SettingsError`."""
    if len(text) > _MAX_CHARS:
        raise SettingsError(KEY, f"{len(text)} characters", f"at most {_MAX_CHARS}")
    try:
        # SafeLoader's, with one more check: it builds plain values and nothing else.
        document = yaml.load(text, _StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise SettingsError(KEY, text, f"YAML: {_complaint(error)}") from None
    if isinstance(document, dict) and set(document) == {"models"}:
        document = document["models"]
    if not isinstance(document, list):
        raise SettingsError(KEY, document, "the path of a YAML file, or a list of models")
    return [_entry(f"{KEY}[{n}]", entry, idle_ttl) for n, entry in enumerate(document)]


def _contents(text: str) -> str:
    """The text itself, or what stands in the file it names."""
    if "\n" in text or not (text.startswith("/") or text.endswith((".yaml", ".yml", ".json"))):
        return text
    try:
        with Path(text).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(KEY, text, f"a file that can be read ({reason})") from None


def _entry(where: str, entry: object, idle_ttl: float | None) -> OperatorModel:
    read = _Entry(where, entry)
    source = read.take("model", _string)
    if source is None:
        raise SettingsError(f"{where}.model", "", "org/name, or an absolute path")
    revision = read.take("revision", _string)
    model = OperatorModel(
        source=as_source(f"{where}.model", source, revision),
        aliases=read.take("aliases", _strings) or (),
        flags=read.take("flags", _flags) or (),
        task=read.take("task", _task),
        pinned=read.take("pin", _scalar(as_flag)) or False,
        preload=read.take("preload", _scalar(as_flag)) or False,
        idle_ttl=read.take("idle_ttl", _scalar(as_ttl)) if read.has("idle_ttl") else idle_ttl,
        memory=read.take("memory", _scalar(as_size)),
        token_env=read.take("token_env", _string),
        trust_remote_code=read.take("trust_remote_code", _scalar(as_flag)) or False,
    )
    read.finish()
    return model


class _Entry:
    """One model's mapping, key by key, so that what nobody takes is an error."""

    def __init__(self, where: str, entry: object) -> None:
        if not isinstance(entry, dict):
            raise SettingsError(where, entry, "a mapping with the key `model`")
        self._where = where
        self._left = {key: value for key, value in entry.items() if value is not None}
        self._taken: list[str] = []

    def has(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, cast: Callable[[object], T]) -> T | None:
        """The value, or None where it is absent or null."""
        self._taken.append(key)
        if key not in self._left:
            return None
        value = self._left.pop(key)
        try:
            return cast(value)
        except ValueError as error:
            raise SettingsError(f"{self._where}.{key}", value, str(error)) from None

    def finish(self) -> None:
        for key in self._left:
            raise SettingsError(self._where, key, f"a key among {', '.join(self._taken)}")


def _string(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text (in quotes, where YAML would read a number or a date)")
    return value.strip()


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(_string, value if isinstance(value, list) else [value]))


def _task(value: object) -> Task:
    return Task(one_of(*Task)(_string(value)))


def _scalar(cast: Callable[[str], T]) -> Callable[[object], T]:
    """What a cast for the environment makes of a YAML scalar."""

    def scalar(value: object) -> T:
        if not isinstance(value, str | int | float):
            raise ValueError("a single value")  # noqa: TRY004 - what a cast raises
        return cast(str(value))

    return scalar


def _flags(value: object) -> tuple[str, ...]:
    """Flags as one line of a shell, as a list of words, or as a mapping."""
    match value:
        case str():
            words = as_arguments(value)
        case list():
            words = tuple(map(_word, value))
        case dict():
            words = tuple(word for key, wanted in value.items() for word in _flag(key, wanted))
        case _:
            words = ()
    if not words or not words[0].startswith("--"):
        raise ValueError("SGLang flags: `--flag value`, a list of words, or a mapping")
    return words


def _flag(key: object, wanted: object) -> list[str]:
    name = f"--{_string(key).removeprefix('--').replace('_', '-')}"
    match wanted:
        case True:
            return [name]
        case False:
            return []
        case list():
            return [name, *map(_word, wanted)]
        case dict():
            return [name, json.dumps(wanted)]
        case _:
            return [name, _word(wanted)]


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("flags whose values are text or numbers")  # noqa: TRY004 - as above
    return str(value)


class _StrictLoader(yaml.SafeLoader):
    """Refuses a repeated key: it is what a forgotten dash between two models looks like."""

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
