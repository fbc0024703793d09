"""Checks grammars before an engine gets them: regexes, EBNF, JSON schemas, structural tags.

Compiling a grammar takes time from an engine's other work, and so does following it, token by
token. xgrammar 0.2.7 handles counts of a million well. It does not handle expressions that can
be read in many ways (`patterns`), very large schemas, and schemas with circular references:
those leave no token to choose, and the engine dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from router.requests.expressions import check_ebnf, check_pattern, check_regex
from router.requests.patterns import TooHard
from router.requests.rules import Unfit

MOST_VALUES = 20_000  # of a schema, or of all tools together
_MOST_PROPERTIES = 64  # of an object with `minProperties` or `maxProperties`
_MOST_CHOICES = 2000  # in one list of alternatives
# The keys of schemas that a `$ref` inside them can refer to.
_ROOTS = frozenset({"schema", "parameters", "input_schema", "json_schema", "function"})
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Expression:
    """A string with a regex or an EBNF grammar."""

    check: Callable[[str], None]

    def needs(self, value: object) -> int:
        if not isinstance(value, str):
            raise Unfit("a string")
        try:
            self.check(value)
        except TooHard as hard:
            raise Unfit(f"easier to follow: it {hard}") from None
        return 0


@dataclass(frozen=True, slots=True)
class Schemas:
    """JSON that is a schema or contains schemas. `written`: it is serialized in a string."""

    written: bool = False

    def needs(self, value: object) -> int:
        if self.written:
            value = _read(value)
        try:
            check_schemas(value)
        except TooHard as hard:
            raise Unfit(f"easier to follow: it {hard}") from None
        return 0


REGEX = Expression(check_regex)
EBNF = Expression(check_ebnf)


def _read(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit("a string")
    if value in ("", "$$ANY$$"):  # "$$ANY$$" is SGLang's notation for any JSON
        return {}
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise Unfit("JSON in a string") from None


def check_schemas(value: object) -> None:
    """Raises `TooHard`."""
    leads: dict[int, list[Json]] = {}  # by a schema's id: those that can replace it
    for number, (schema, roots) in enumerate(_objects(value)):
        if number >= MOST_VALUES:
            raise TooHard(f"has more than {MOST_VALUES} values")
        _check_expressions(schema)
        _check_counts(schema)
        if found := [*_referred(schema, roots), *_alternatives(schema)]:
            leads[id(schema)] = found
    _check_circles(leads)


def _objects(value: object) -> Iterator[tuple[Json, tuple[object, ...]]]:
    """Yield each object with its surrounding root schemas. Other values yield an empty object,
    so that they are counted, too."""
    left: list[tuple[object, tuple[object, ...]]] = [(value, (value,))]
    while left:
        one, roots = left.pop()
        if isinstance(one, dict):
            yield one, roots
            for key, inner in one.items():
                known = len(roots) < 4 and key in _ROOTS
                left.append((inner, (inner, *roots) if known else roots))
        elif isinstance(one, list):
            left += ((inner, roots) for inner in one)
        else:
            yield {}, ()


def _check_expressions(schema: Json) -> None:
    for name, check in (("pattern", check_pattern), ("grammar", check_ebnf)):
        if isinstance(text := schema.get(name), str):
            check(text)
    if isinstance(patterns := schema.get("patternProperties"), dict):
        for pattern in patterns:
            check_regex(pattern)


def _check_counts(schema: Json) -> None:
    listed = schema.get("properties")
    counted = schema.get("minProperties") or schema.get("maxProperties") is not None
    if counted and isinstance(listed, dict) and len(listed) > _MOST_PROPERTIES:
        raise TooHard(
            f"counts the properties of an object that lists more than {_MOST_PROPERTIES}"
        )
    for name in (*_ALTERNATIVES, "enum", "prefixItems"):
        if isinstance(choices := schema.get(name), list) and len(choices) > _MOST_CHOICES:
            raise TooHard(f"has more than {_MOST_CHOICES} entries in `{name}`")


def _alternatives(schema: Json) -> Iterator[Json]:
    for name in _ALTERNATIVES:
        if isinstance(choices := schema.get(name), list):
            yield from (one for one in choices if isinstance(one, dict))


def _referred(schema: Json, roots: tuple[object, ...]) -> Iterator[Json]:
    """The possible targets of `$ref`, one for each surrounding root schema."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#") and len(reference) < 1024:
        path = [part.replace("~1", "/").replace("~0", "~") for part in reference.split("/")[1:]]
        for root in roots:
            if isinstance(found := _at(root, path), dict):
                yield found


def _at(place: object, path: list[str]) -> object:
    for key in path:
        if isinstance(place, dict):
            place = place.get(key)
        elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
            place = place[int(key)]
        else:
            return None
    return place


def _check_circles(leads: dict[int, list[Json]]) -> None:
    """Raise `TooHard` for a schema that refers only to itself: it describes nothing."""
    done: set[int] = set()
    for start in leads:
        above: set[int] = set()
        left = [(start, False)]
        while left:
            schema, leaving = left.pop()
            if leaving:
                above.discard(schema)
                done.add(schema)
            elif schema in above:
                raise TooHard("has a `$ref` that leads back to itself")
            elif schema not in done:
                above.add(schema)
                left.append((schema, True))
                left += ((id(one), False) for one in leads.get(schema, ()))
