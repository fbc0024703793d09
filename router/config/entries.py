"""Files of entries in YAML, strictly: each mistake is named by its entry, key and line.

A file is a list of entries, or a mapping with one key that holds the list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from router.config.errors import SettingsError

E = TypeVar("E", bound=BaseModel)

MAX_CHARS = 256 * 1024
_MASK = "***"


@dataclass(frozen=True, slots=True)
class EntriesFile:
    """What kind of file it is. `secret`: nothing that stands in it is shown in an error."""

    setting: str  # that names the file
    root: str  # the one key that may stand above the list
    noun: str  # of what it is a list: "models"
    secret: bool = False

    def contents(self, path: str) -> str:
        """Raises `SettingsError`."""
        try:
            with Path(path).open(encoding="utf-8") as file:
                return file.read(MAX_CHARS + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            allowed = f"a file that can be read ({reason})"
            raise SettingsError(self.setting, path, allowed) from None

    def entries(self, text: str) -> Iterator[tuple[EntryPlace, object]]:
        """Raises `SettingsError` for what is no list in YAML."""
        if len(text) > MAX_CHARS:
            raise SettingsError(self.setting, f"{len(text)} characters", f"at most {MAX_CHARS}")
        shown = _MASK if self.secret else text
        try:
            document, lines = _read(text)
        except yaml.YAMLError as error:
            complaint = f"YAML: {_complaint(error, quotes=not self.secret)}"
            raise SettingsError(self.setting, shown, complaint) from None
        except RecursionError:
            allowed = "YAML that is not nested so deeply"
            raise SettingsError(self.setting, shown, allowed) from None
        if isinstance(document, dict) and set(document) == {self.root}:
            document = document[self.root]
        if not isinstance(document, list):
            found = _MASK if self.secret else document
            allowed = f"the path of a YAML file, or a list of {self.noun}"
            raise SettingsError(self.setting, found, allowed)
        for n, entry in enumerate(document):
            name = f"{self.setting}[{n}]"
            yield EntryPlace(name, lines.get(n, {}), self.secret), entry


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """An entry of the file. `secret`: no text of it is shown."""

    name: str
    lines: Mapping[str, int]  # of its keys; its own by the empty one
    secret: bool = False

    def refusal(self, key: str, value: object, allowed: str, at: str = "") -> SettingsError:
        """`key`: that is wrong; empty: the entry itself. `at`: the key whose line it is."""
        line = self.lines.get(at or key, self.lines.get(""))
        where = "" if line is None else f" (line {line})"
        named = f"{self.name}.{key}" if key else self.name
        shown = _MASK if self.secret and value != "" else value
        return SettingsError(named, shown, allowed + where)

    def validated(self, entry: object, schema: type[E], needs: Mapping[str, str]) -> E:
        """The entry as `schema` reads it. `needs`: what keys that must be there may hold; the
        first is named where there is no entry at all. Raises `SettingsError`."""
        if not isinstance(entry, dict):
            raise self.refusal("", entry, f"a mapping with the key `{next(iter(needs))}`")
        try:
            return schema.model_validate({k: v for k, v in entry.items() if v is not None})
        except ValidationError as error:
            raise self._refused(error, schema, needs) from None

    def _refused(
        self, error: ValidationError, schema: type[BaseModel], needs: Mapping[str, str]
    ) -> SettingsError:
        """One thing wrong: its entry and key, what was there, and what is allowed.

        An unknown key first: `modl` is why `model` is missing.
        """
        wrong = min(
            error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden"
        )
        found = wrong["loc"][0]
        key = str(found)
        match wrong["type"]:
            case "missing":
                return self.refusal(key, "", needs[key])
            case "value_error":
                return self.refusal(key, wrong["input"], str(wrong["ctx"]["error"]))
        keys = ", ".join(schema.model_fields)
        meant = get_close_matches(key, schema.model_fields, n=1) if self.secret else ()
        hint = f", such as `{meant[0]}`" if meant else ""
        return self.refusal("", found, f"a key among {keys}{hint}", at=key)


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
        node = node.value[0][1]  # below the root
    if not isinstance(node, yaml.SequenceNode):
        return {}
    found: dict[int, dict[str, int]] = {}
    for number, entry in enumerate(node.value):
        keys = entry.value if isinstance(entry, yaml.MappingNode) else ()
        found[number] = {"": entry.start_mark.line + 1} | {
            str(key.value): key.start_mark.line + 1 for key, _ in keys
        }
    return found


class _StrictLoader(yaml.SafeLoader):
    """Refuses a repeated key, which is what a forgotten dash between two entries looks like."""

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


_QUOTED = re.compile(r"(['`\"]).*\1", re.DOTALL)


def _complaint(error: yaml.YAMLError, *, quotes: bool) -> str:
    """What is wrong and where, without the text around it, which may be anything. `quotes`:
    the words that PyYAML quotes may be shown."""
    problem = getattr(error, "problem", None) or "not readable"
    if not quotes:
        problem = _QUOTED.sub(_MASK, problem)
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"{problem} (line {mark.line + 1})"
