"""Reads YAML strictly: plain values and their lines. Errors show nothing of the content."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import yaml
from yaml.constructor import ConstructorError

from router.config.errors import SettingsMistakes
from router.redaction import MASK

Lines: TypeAlias = Mapping[int, Mapping[str, int]]  # by entry and key
Repeated: TypeAlias = Sequence[tuple[str, int]]  # keys, with their lines

MAX_CHARS = 256 * 1024
_KINDS = {"timestamp": "date", "int": "number", "float": "number"}  # values without quotes


def read_yaml(text: str, place: str) -> tuple[object, yaml.Node | None, Repeated]:
    """The document, its node, and the keys that occur twice in one mapping.

    Raises `SettingsError`, which names `place`, the source of the text. The loader is
    SafeLoader with one more check, so it builds only plain values.
    """
    if len(text) > MAX_CHARS:
        raise SettingsMistakes([f"{place}: must have at most {MAX_CHARS} characters"])
    try:
        return _read(text)
    except yaml.YAMLError as error:
        raise SettingsMistakes([_complaint(error, place)]) from None
    except RecursionError:
        raise SettingsMistakes([f"{place}: the YAML is nested too deeply"]) from None


def _read(text: str) -> tuple[object, yaml.Node | None, Repeated]:
    """Raises `YAMLError` and `RecursionError`."""
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
        return document, node, loader.repeated
    finally:
        loader.dispose()


def lines_by_number(node: yaml.Node | None) -> Lines:
    """Line numbers, by the number of an entry and its keys; "" has the entry's own line."""
    if not isinstance(node, yaml.SequenceNode):
        return {}
    return {
        number: {"": entry.start_mark.line + 1} | _keys(entry)
        for number, entry in enumerate(node.value)
    }


def lines_by_name(node: yaml.Node | None) -> Mapping[str, Mapping[str, int]]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {
        str(name.value): {"": name.start_mark.line + 1} | _keys(entry) for name, entry in pairs
    }


def _keys(entry: yaml.Node) -> dict[str, int]:
    """The lines of a mapping's keys."""
    keys = entry.value if isinstance(entry, yaml.MappingNode) else ()
    return {str(key.value): key.start_mark.line + 1 for key, _ in keys}


def below(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """The node of a key's value in a mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


class _StrictLoader(yaml.SafeLoader):
    """Notes repeated keys: a forgotten dash between two entries causes them.

    Raises only `YAMLError` and `RecursionError`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[str, int]] = []  # with the line of the second one

    def construct_object(
        self,
        node: yaml.Node,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's
    ) -> object:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - PyYAML lets Python's own errors through
            kind = _KINDS.get(node.tag.rpartition(":")[2], "value of its type")
            problem = f"this looks like a {kind}, but is not one: put it in quotes"
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


# PyYAML quotes content, which may be secret. Punctuation and PyYAML's own words may be shown.
_QUOTES = re.compile(r"(['`\"])(.*?)\1", re.DOTALL)
_FROM_FIRST_TO_LAST = re.compile(r"['`\"].*['`\"]", re.DOTALL)
_HARMLESS = re.compile(r"\W*|<[a-z ]+>")


def _masked(problem: str) -> str:
    if all(_HARMLESS.fullmatch(quoted) for _, quoted in _QUOTES.findall(problem)):
        return problem
    return _FROM_FIRST_TO_LAST.sub(MASK, problem)


def _complaint(error: yaml.YAMLError, place: str) -> str:
    """The problem and its place, without the content at that place."""
    problem = _masked(getattr(error, "problem", None) or "not readable")
    mark = getattr(error, "problem_mark", None)
    at = "" if mark is None else f":{mark.line + 1}"
    return f"{place}{at}: this is not YAML: {problem}"
