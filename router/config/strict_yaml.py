"""YAML, read strictly: plain values, their lines, and errors that show nothing of it."""

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
_KINDS = {"timestamp": "date", "int": "number", "float": "number"}  # of values without quotes


def read_yaml(text: str, place: str) -> tuple[object, yaml.Node | None, Repeated]:
    """The document, the node that it was made from, and the keys that stand twice in one
    mapping. Raises `SettingsError`; `place` is the text's, for that.

    The loader is SafeLoader with one more check: it builds plain values and nothing else.
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
    """By the number of an entry and a key of it; an entry's own line by the empty key."""
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
    """What stands below a key of a mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


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
