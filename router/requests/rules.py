"""Rules for the values of fields. Rules for values with tokens are in `token_rules`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from router.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Demands:
    """The requirements of a request for its model."""

    vocabulary: int = 0  # minimum number of tokens
    field: str = ""  # the field that needs that many

    def check(self, vocabulary: int | None) -> None:
        """Raise `InvalidRequest` if the model's vocabulary is too small. None: unknown."""
        if vocabulary is not None and self.vocabulary > vocabulary:
            raise InvalidRequest(
                f"`{self.field}` goes beyond this model's vocabulary, which has {vocabulary} "
                f"tokens: 0 to {vocabulary - 1}.",
                param=self.field,
            )


_NONE = Demands()
_NUMBER = (int, float)  # a constant, because `int | float` would create a new object each time


class Unfit(Exception):
    """A value breaks its rule. The message says what it must be. `field` is its name."""

    def __init__(self, expected: str, field: str = "") -> None:
        super().__init__(expected)
        self.field = field


class Rule(Protocol):
    """A rule for the value of a field."""

    def needs(self, value: object) -> int:
        """The minimum vocabulary size for this value, usually 0. Raises `Unfit`."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer. `5.0` is one, as in pydantic."""

    low: int
    high: int

    def needs(self, value: object) -> int:
        if is_number(value) and self.low <= value <= self.high and value == int(value):
            return 0
        raise Unfit(f"a whole number from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Real:
    """A number, integer or not."""

    low: float
    high: float

    def needs(self, value: object) -> int:
        if is_number(value) and self.low <= value <= self.high:
            return 0
        raise Unfit(f"a number from {self.low:g} to {self.high:g}")


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false. `also`: other values that SGLang accepts."""

    also: Collection[str] = ()

    def needs(self, value: object) -> int:
        if isinstance(value, int) and value in (0, 1):  # as in pydantic
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
    """A string, or a list of at most `most` strings."""

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
    """A value of `rule`, or a list of at most `most` of them. The list may contain null."""

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
    """A value that satisfies the first rule or the second."""

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
    """A value that satisfies both rules."""

    first: Rule
    second: Rule

    def needs(self, value: object) -> int:
        return max(self.first.needs(value), self.second.needs(value))


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at most `most` items of any kind. SGLang checks the items."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, list) and len(value) <= self.most:
            return 0
        raise Unfit(f"a list of {self.most} at most")


@dataclass(frozen=True, slots=True)
class Objects:
    """An object, or a list of at most `most` objects."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, dict):
            return 0
        if isinstance(value, list) and len(value) <= self.most and types(value) <= {dict}:
            return 0
        raise Unfit(f"a list of {self.most} objects at most")


@dataclass(frozen=True, slots=True)
class Nested:
    """Any JSON with at most `values` values in total and no number beyond `numbers`."""

    values: int
    numbers: float = math.inf

    def needs(self, value: object) -> int:
        left, todo = self.values, [value]
        while todo and left >= 0:
            one = todo.pop()
            left -= 1
            if isinstance(one, str):  # the most common case
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
    """An object with a rule for each field."""

    fields: Mapping[str, Rule]
    closed: bool = False  # other fields must be empty

    def needs(self, value: object) -> int:
        if not isinstance(value, dict):
            raise Unfit("an object")
        if self.closed:
            for name in value.keys() - self.fields.keys():
                if value[name]:
                    raise Unfit("left out here", name if name.isidentifier() else "")
        return demanded(self.fields, value).vocabulary


def demanded(rules: Mapping[str, Rule], fields: Mapping[str, object]) -> Demands:
    """The combined requirements of all fields. Raises `Unfit` with the field's name."""
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
