"""Reads YAML files of entries strictly. Errors name the file, line, entry and key.

A file is a list of entries, or a mapping with one key for the list. Next to that key, it may
have a section of named entries of another kind.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from router.config.errors import MistakesSoFar, SettingsError, SettingsMistakes, shown
from router.config.strict_yaml import (
    MAX_CHARS,
    Lines,
    Repeated,
    below,
    lines_by_name,
    lines_by_number,
    read_yaml,
)
from router.redaction import MASK, redact

E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")

_AT_ONCE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # does not wait for a pipe's writer
_OF_KNOWN = ("missing", "value_error")  # pydantic's error types for keys that a schema has
_LABEL = re.compile(r"[\w./@:-]{1,100}")


@dataclass(frozen=True, slots=True)
class EntriesFile:
    """A kind of file. If `secret`, errors show nothing of its content."""

    setting: str  # the setting that names the file
    root: str  # the key of the list
    noun: str  # what the entries are, such as "models"
    secret: bool = False
    beside: str = ""  # the key of the section next to the list; empty: none

    def contents(self, path: str) -> str:
        """The text of the file. Raises `SettingsError`, even for a pipe or a device: to read
        one could take forever, and the worker can't end while it reads."""
        try:
            with open(os.open(path, _AT_ONCE), encoding="utf-8") as file:  # noqa: PTH123
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return file.read(MAX_CHARS + 1)
                reason = "it is not a regular file"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or _flaw(error)
        problem = f"{path}: this file can't be read ({self.setting}): {reason}"
        raise SettingsMistakes([problem])

    def read(
        self, text: str, one: Callable[[EntryPlace, object], T], path: str | None = None
    ) -> list[T]:
        """Read each entry with `one`. `path` is the file of the text, if it is from a file.

        Raises one `SettingsError` with all mistakes, including those that `one` raises.
        """
        place = path or self.setting
        document, lines, twice = self._parsed(text, place)
        mistakes, read = MistakesSoFar(), list[T]()
        for key, line in twice:
            said = MASK if self.secret else shown(key)
            mistakes.note(f"{place}:{line}: the key {said} appears twice in one entry")
        for n, entry in enumerate(document):
            with mistakes.collecting():
                read.append(one(EntryPlace(place, n + 1, lines.get(n, {}), self.secret), entry))
        mistakes.raise_any()
        return read

    def named(
        self, text: str, one: Callable[[EntryPlace, str, object], T], path: str | None = None
    ) -> dict[str, T] | None:
        """Read each entry of the section next to the list with `one`, by name.

        None if there is no section, or if the text is not YAML: then `read` raises. Otherwise
        like `read`.
        """
        place = path or self.setting
        try:
            document, node, _ = read_yaml(text, place)
        except SettingsError:
            return None
        if not isinstance(document, dict) or self.beside not in document:
            return None
        section, lines = document[self.beside], lines_by_name(below(node, self.beside))
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
        document, node, twice = read_yaml(text, place)
        allowed_keys = {self.root, self.beside or self.root}
        if isinstance(document, dict) and {self.root} <= document.keys() <= allowed_keys:
            document, node = document[self.root], below(node, self.root)
        if not isinstance(document, list):
            allowed = f"the path of a YAML file, or a list of {self.noun}"
            raise SettingsMistakes([f"{place}: must be {allowed}, not {_kind(document)}"])
        return document, lines_by_number(node), twice


@dataclass(frozen=True, slots=True)
class EntryPlace:
    """An entry of the file, for errors. If `secret`, errors show nothing of its text."""

    file: str  # or the setting that holds the text
    number: int  # from 1
    lines: Mapping[str, int]  # by key; "" has the line of the entry itself
    secret: bool = False
    label: str = ""  # a readable name, if known
    kind: str = ""  # what it is, if it is not in the list

    @property
    def name(self) -> str:
        return self.named()

    def named(self, key: str = "") -> str:
        """The place of a key of the entry, or of the entry itself."""
        line = self.lines.get(key, self.lines.get(""))
        at = "" if line is None else f":{line}"
        label = f" ({self.label})" if self.label else ""
        return f"{self.file}{at}: {self.kind or f'entry {self.number}'}{label}"

    def refusal(self, key: str, value: object, allowed: str) -> SettingsError:
        """The error for a wrong `value` of `key`, or of the entry itself if `key` is empty."""
        subject = f"`{key}`" if key else "it"
        is_shown = isinstance(value, str | int | float) and value != "" and not self.secret
        what = f"{subject} is {shown(value)}, and must be" if is_shown else f"{subject} must be"
        return SettingsMistakes([f"{self.named(key)}: {what} {allowed}"])

    def validated(
        self, entry: object, schema: type[E], needs: Mapping[str, str]
    ) -> tuple[EntryPlace, E]:
        """The entry as `schema` reads it, and its place with a label.

        `needs` are the required keys, each with a text that says what it may hold; the first
        one names the entry. Raises `SettingsError`.
        """
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
        """One error with all mistakes: the key, its value, and what is allowed."""
        mistakes = MistakesSoFar()
        wrong = error.errors(include_url=False)
        unknown = [str(e["loc"][0]) for e in wrong if e["type"] not in _OF_KNOWN]
        meant = {key: _meant(key, schema) for key in unknown}
        for key in unknown:
            mistakes.note(self._unknown(key, meant[key], schema))
        for one in wrong:
            key = str(one["loc"][0])
            match one["type"]:
                # If `model` was misspelled `modl`, do not report it as missing as well.
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
        return f"{self.named(key)}: unknown key {said}: {hint}"


def _meant(key: str, schema: type[BaseModel]) -> str:
    return next(iter(get_close_matches(key.lower(), schema.model_fields, n=1)), "")


def _kind(value: object) -> str:
    """The type of a document or an entry. Not its content, which may be a secret."""
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


def _flaw(error: Exception) -> str:
    return "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
