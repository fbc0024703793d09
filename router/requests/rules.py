"""The kinds of values that a field can hold. Those that name tokens are in `token_rules`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from router.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Demands:
    """What a request needs of the model that is to answer it."""

    vocabulary: int = 0  # tokens
    field: str = ""  # which one needs that many

    def check(self, vocabulary: int | None) -> None:
        """Raise `InvalidRequest` where the model has fewer tokens; None: nobody knows."""
        if vocabulary is not None and self.vocabulary > vocabulary:
            raise InvalidRequest(
                f"`{self.field}` goes beyond this model's vocabulary, which has {vocabulary} "
                f"tokens: 0 to {vocabulary - 1}.",
                param=self.field,
            )


_NONE = Demands()
_NUMBER = (int, float)  # made once: `int | float` is made anew each time


class Unfit(Exception):
    """A value breaks its rule. The message says what it must be; `field` is its name."""

    def __init__(self, expected: str, field: str = "") -> None:
        super().__init__(expected)
        self.field = field


class Rule(Protocol):
    """What a field may hold."""

    def needs(self, value: object) -> int:
        """The least size of a vocabulary for this value; mostly 0. Raises `Unfit`."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number. `5.0` is one, because pydantic says so."""

    low: int
    high: int

    def needs(self, value: object) -> int:
        if is_number(value) and self.low <= value <= self.high and value == int(value):
            return 0
        raise Unfit(f"a whole number from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Real:
    """A number, whole or not."""

    low: float
    high: float

    def needs(self, value: object) -> int:
        if is_number(value) and self.low <= value <= self.high:
            return 0
        raise Unfit(f"a number from {self.low:g} to {self.high:g}")


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; `also` are other values that SGLang knows."""

    also: Collection[str] = ()

    def needs(self, value: object) -> int:
        if isinstance(value, int) and value in (0, 1):  # pydantic reads numbers so
            return 0
        if isinstance(value, str) and value in self.also:
            return 0
        raise Unfit("true or false")


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    def needs(self, value: object) -> int:
        if isinstance(value, str):
            return 0
        raise Unfit("a string")


@dataclass(frozen=True, slots=True)
class Texts:
    """A string, or a list of so many."""

    most: int
    longest: int  # characters

    def needs(self, value: object) -> int:
        texts = [value] if isinstance(value, str) else value
        if (
            isinstance(texts, list)
            and len(texts) <= self.most
            and types(texts) <= {str}
            and max(map(len, texts), default=0) <= self.longest
        ):
            return 0
        raise Unfit(
            f"a string, or {self.most} strings at most, of {self.longest} characters at most"
        )


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """As `rule` says, or a list of so many. Null is no value in a list either."""

    rule: Rule
    most: int

    def needs(self, value: object) -> int:
        if not isinstance(value, list):
            return self.rule.needs(value)
        if len(value) > self.most:
            raise Unfit(f"a list of {self.most} at most")
        return max((self.rule.needs(one) for one in value if one is not None), default=0)


@dataclass(frozen=True, slots=True)
class Either:
    """As the first rule says, or the second."""

    first: Rule
    second: Rule

    def needs(self, value: object) -> int:
        try:
            return self.first.needs(value)
        except Unfit as unfit:
            try:
                return self.second.needs(value)
            except Unfit as other:
                raise Unfit(f"{unfit}, or {other}") from None


@dataclass(frozen=True, slots=True)
class Both:
    """As both rules say."""

    first: Rule
    second: Rule

    def needs(self, value: object) -> int:
        return max(self.first.needs(value), self.second.needs(value))


@dataclass(frozen=True, slots=True)
class Items:
    """A list of so many at most, of whatever SGLang takes here."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, list) and len(value) <= self.most:
            return 0
        raise Unfit(f"a list of {self.most} at most")


@dataclass(frozen=True, slots=True)
class Objects:
    """An object, or a list of so many."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, dict):
            return 0
        if isinstance(value, list) and len(value) <= self.most and types(value) <= {dict}:
            return 0
        raise Unfit(f"a list of {self.most} objects at most")


@dataclass(frozen=True, slots=True)
class Nested:
    """Any JSON, of so many values in all, with no number beyond `numbers`."""

    values: int
    numbers: float = math.inf

    def needs(self, value: object) -> int:
        left, todo = self.values, [value]
        while todo and left >= 0:
            one = todo.pop()
            left -= 1
            if isinstance(one, str):  # most are
                continue
            if isinstance(one, dict):
                todo.extend(one.values())
            elif isinstance(one, list):
                todo.extend(one)
            elif isinstance(one, _NUMBER) and not -self.numbers <= one <= self.numbers:
                raise Unfit(f"without numbers beyond {self.numbers}")
        if left < 0:
            raise Unfit(f"of {self.values} values in all, at most")
        return 0


@dataclass(frozen=True, slots=True)
class Object:
    """An object whose fields have rules of their own."""

    fields: Mapping[str, Rule]
    closed: bool = False  # no field beside these may ask for anything

    def needs(self, value: object) -> int:
        if not isinstance(value, dict):
            raise Unfit("an object")
        if self.closed:
            for name in value.keys() - self.fields.keys():
                if value[name]:
                    raise Unfit("left out here", name if name.isidentifier() else "")
        return demanded(self.fields, value).vocabulary


def demanded(rules: Mapping[str, Rule], fields: Mapping[str, object]) -> Demands:
    """What all fields need together. Raises `Unfit`, with the field's name."""
    most, where = 0, ""
    for name, value in fields.items():
        if value is None or (rule := rules.get(name)) is None:
            continue
        try:
            needed = rule.needs(value)
        except Unfit as unfit:
            unfit.field = f"{name}.{unfit.field}" if unfit.field else name
            raise
        if needed > most:
            most, where = needed, name
    return Demands(most, where) if most else _NONE


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


def types(values: Collection[object]) -> set[type]:
    return set(map(type, values))
