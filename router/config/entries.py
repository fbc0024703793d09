"""Files of entries in YAML, strictly: each mistake is named by its file, line, entry and key.

A file is a list of entries, or a mapping with one key that holds the list. Beside that key,
a file may have a section of named entries of another kind.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.constructor import ConstructorError

from router.config.errors import MistakesSoFar, SettingsError, SettingsMistakes, shown
from router.logs import MASK, redact

E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")
Lines: TypeAlias = Mapping[int, Mapping[str, int]]  # by entry and key
Repeated: TypeAlias = Sequence[tuple[str, int]]  # keys, with their lines

MAX_CHARS = 256 * 1024
_AT_ONCE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is opened without its writer
_OF_KNOWN = ("missing", "value_error")  # what pydantic says of keys that a schema has
_LABEL = re.compile(r"[\w./@:-]{1,100}")


@dataclass(frozen=True, slots=True)
class EntriesFile:
    """What kind of file it is. `secret`: nothing that stands in it is shown in an error."""

    setting: str  # that names the file
    root: str  # the one key that may stand above the list
    noun: str  # of what it is a list: "models"
    secret: bool = False
    beside: str = ""  # the key of the section that may stand beside the root; empty: none

    def contents(self, path: str) -> str:
        """Raises `SettingsError`, also for what is no ordinary file: to read a pipe could take
        for ever, and a worker can't end as long as it reads."""
        try:
            with open(os.open(path, _AT_ONCE), encoding="utf-8") as file:  # noqa: PTH123
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return file.read(MAX_CHARS + 1)
                reason = "it is no ordinary file"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or _flaw(error)
        problem = f"{path}: this file can't be read ({self.setting}): {reason}"
        raise SettingsMistakes([problem])

    def read(
        self, text: str, one: Callable[[EntryPlace, object], T], path: str | None = None
    ) -> list[T]:
        """What `one` makes of each entry. `path`: of the file, where the text is of one.

        Raises `SettingsError`, with all mistakes: those of the entries, as `one` raises them.
        """
        place = path or self.setting
        document, lines, twice = self._parsed(text, place)
        mistakes, read = MistakesSoFar(), list[T]()
        for key, line in twice:
            said = MASK if self.secret else shown(key)
            mistakes.note(f"{place}:{line}: the key {said} stands twice in one entry")
        for n, entry in enumerate(document):
            with mistakes.collecting():
                read.append(one(EntryPlace(place, n + 1, lines.get(n, {}), self.secret), entry))
        mistakes.raise_any()
        return read

    def named(
        self, text: str, one: Callable[[EntryPlace, str, object], T], path: str | None = None
    ) -> dict[str, T] | None:
        """What `one` makes of each entry of the section beside the root, by name; None: there
        is no section, or no YAML, of which `read` tells. Else as `read`."""
        place = path or self.setting
        try:
            document, node, _ = self._document(text, place)
        except SettingsError:
            return None
        if not isinstance(document, dict) or self.beside not in document:
            return None
        section, lines = document[self.beside], _lines_by_name(_below(node, self.beside))
        if not isinstance(section, dict):
            said = f"`{self.beside}` must be a mapping of names, not {_kind(section)}"
            raise SettingsMistakes([f"{place}: {said}"])
        mistakes, read = MistakesSoFar(), dict[str, T]()
        for n, (name, entry) in enumerate(section.items()):
            kind = f"{self.beside}: {shown(name)}"
            where = EntryPlace(place, n + 1, lines.get(str(name), {}), self.secret, kind=kind)
            with mistakes.collecting():
                read[str(name)] = one(where, str(name), entry)
        mistakes.raise_any()
        return read

    def _parsed(self, text: str, place: str) -> tuple[list[object], Lines, Repeated]:
        document, node, twice = self._document(text, place)
        allowed_keys = {self.root, self.beside or self.root}
        if isinstance(document, dict) and {self.root} <= document.keys() <= allowed_keys:
            document, node = document[self.root], _below(node, self.root)
        if not isinstance(document, list):
            allowed = f"the path of a YAML file, or a list of {self.noun}"
            raise SettingsMistakes([f"{place}: must be {allowed}, not {_kind(document)}"])
        return document, _lines(node), twice

    def _document(self, text: str, place: str) -> tuple[object, yaml.Node | None, Repeated]:
        if len(text) > MAX_CHARS:
            raise SettingsMistakes([f"{place}: must have at most {MAX_CHARS} characters"])
        try:
            return _read(text)
        except yaml.YAMLError as error:
            raise SettingsMistakes([_complaint(error, place)]) from None
        except RecursionError:
            raise SettingsMistakes([f"{place}: the YAML is nested too deeply"]) from None


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """An entry of the file, for errors. `secret`: no text of it is shown."""

    file: str  # or the setting that holds the text
    number: int  # from 1
    lines: Mapping[str, int]  # of its keys; its own by the empty one
    secret: bool = False
    label: str = ""  # what names it, if that is known
    kind: str = ""  # what it is, where it is none of the list

    @property
    def name(self) -> str:
        return self.named()

    def named(self, key: str = "") -> str:
        """The place of a key of it, or of the entry itself."""
        line = self.lines.get(key, self.lines.get(""))
        at = "" if line is None else f":{line}"
        label = f" ({self.label})" if self.label else ""
        return f"{self.file}{at}: {self.kind or f'entry {self.number}'}{label}"

    def refusal(self, key: str, value: object, allowed: str) -> SettingsError:
        """`key`: that is wrong; empty: the entry itself. `value`: empty where there is none."""
        subject = f"`{key}`" if key else "it"
        is_shown = isinstance(value, str | int | float) and value != "" and not self.secret
        what = f"{subject} is {shown(value)}, and must be" if is_shown else f"{subject} must be"
        return SettingsMistakes([f"{self.named(key)}: {what} {allowed}"])

    def validated(
        self, entry: object, schema: type[E], needs: Mapping[str, str]
    ) -> tuple[EntryPlace, E]:
        """The entry as `schema` reads it, and its place with a name. `needs`: what keys that
        must be there may hold; the first names the entry. Raises `SettingsError`."""
        first = next(iter(needs))
        if not isinstance(entry, dict):
            raise self.refusal("", "", f"a mapping with the key `{first}`, not {_kind(entry)}")
        place = self._labeled(entry.get(first))
        try:
            given = {k: v for k, v in entry.items() if v is not None}
            return place, schema.model_validate(given)
        except ValidationError as error:
            raise place.refused(error, schema, needs) from None

    def _labeled(self, label: object) -> EntryPlace:
        if self.secret or not isinstance(label, str) or not _LABEL.fullmatch(label):
            return self
        return replace(self, label=redact(label))

    def refused(
        self, error: ValidationError, schema: type[BaseModel], needs: Mapping[str, str]
    ) -> SettingsError:
        """All that is wrong: its keys, what was there, and what is allowed."""
        mistakes = MistakesSoFar()
        wrong = error.errors(include_url=False)
        unknown = [str(e["loc"][0]) for e in wrong if e["type"] not in _OF_KNOWN]
        meant = {key: _meant(key, schema) for key in unknown}
        for key in unknown:
            mistakes.note(self._unknown(key, meant[key], schema))
        for one in wrong:
            key = str(one["loc"][0])
            match one["type"]:
                # `modl` is why `model` is missing.
                case "missing" if key not in meant.values():
                    mistakes.note(f"{self.named()}: `{key}` is missing: {needs[key]}")
                case "value_error":
                    allowed = str(one["ctx"]["error"])
                    with mistakes.collecting():
                        raise self.refusal(key, one["input"], allowed)
        return mistakes.error()

    def _unknown(self, key: str, meant: str, schema: type[BaseModel]) -> str:
        said = MASK if self.secret else shown(key)
        hint = (
            f"did you mean `{meant}`?"
            if meant
            else f"keys are {', '.join(schema.model_fields)}"
        )
        return f"{self.named(key)}: no key is called {said}: {hint}"


def _meant(key: str, schema: type[BaseModel]) -> str:
    return next(iter(get_close_matches(key.lower(), schema.model_fields, n=1)), "")


def _kind(value: object) -> str:
    """What a document or an entry is, without its content, which may be a secret."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return "text"
    return "a single value"


def _read(text: str) -> tuple[object, yaml.Node | None, Repeated]:
    """The document, the node that it was made from, and the keys that stand twice in one
    mapping. Raises `YAMLError`.

    The loader is SafeLoader with one more check: it builds plain values and nothing else.
    """
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
        return document, node, loader.repeated
    finally:
        loader.dispose()


def _lines(node: yaml.Node | None) -> Lines:
    """By the number of an entry and a key of it; an entry's own line by the empty key."""
    if not isinstance(node, yaml.SequenceNode):
        return {}
    return {
        number: {"": entry.start_mark.line + 1} | _keys(entry)
        for number, entry in enumerate(node.value)
    }


def _lines_by_name(node: yaml.Node | None) -> Mapping[str, Mapping[str, int]]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {
        str(name.value): {"": name.start_mark.line + 1} | _keys(entry) for name, entry in pairs
    }


def _keys(entry: yaml.Node) -> dict[str, int]:
    """The lines of a mapping's keys."""
    keys = entry.value if isinstance(entry, yaml.MappingNode) else ()
    return {str(key.value): key.start_mark.line + 1 for key, _ in keys}


def _below(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """What stands below a key of a mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


_KINDS = {"timestamp": "date", "int": "number", "float": "number"}  # of values without quotes


def _flaw(error: Exception) -> str:
    return "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


class _StrictLoader(yaml.SafeLoader):
    """Notes repeated keys, which is what a forgotten dash between two entries looks like.
    Raises nothing but `YAMLError` and `RecursionError`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[str, int]] = []  # with the lines of the second

    def construct_object(
        self,
        node: yaml.Node,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's
    ) -> object:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - PyYAML lets out whatever Python says of a value
            kind = _KINDS.get(node.tag.rpartition(":")[2], "value of its type")
            problem = f"what looks like a {kind} is none: put it in quotes"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's
    ) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                self.repeated.append((key.value, key.start_mark.line + 1))
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# What PyYAML quotes may be anything. Punctuation, and its own words, may be shown.
_QUOTES = re.compile(r"(['`\"])(.*?)\1", re.DOTALL)
_FROM_FIRST_TO_LAST = re.compile(r"['`\"].*['`\"]", re.DOTALL)
_HARMLESS = re.compile(r"\W*|<[a-z ]+>")


def _masked(problem: str) -> str:
    if all(_HARMLESS.fullmatch(quoted) for _, quoted in _QUOTES.findall(problem)):
        return problem
    return _FROM_FIRST_TO_LAST.sub(MASK, problem)


def _complaint(error: yaml.YAMLError, place: str) -> str:
    """What is wrong and where, without what stands there."""
    problem = _masked(getattr(error, "problem", None) or "not readable")
    mark = getattr(error, "problem_mark", None)
    at = "" if mark is None else f":{mark.line + 1}"
    return f"{place}{at}: this is no YAML: {problem}"
