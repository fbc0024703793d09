"""The kinds of values that name tokens, and so need a vocabulary that has them.

Of a prompt of a million ids, `set` sees each, and nothing slower does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from router.requests.rules import Unfit, Whole, is_number, types

HIGHEST = 2**31 - 1  # id that the token of any model could have


@dataclass(frozen=True, slots=True)
class TopTokens:
    """How many of the likeliest tokens to tell of, or whether: `true` is 1 to pydantic."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, bool):
            return 0
        Whole(0, self.most).needs(value)
        return int(value) if is_number(value) else 0


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids: a list, of so many at most."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, list) and len(value) <= self.most and types(value) <= {int}:
            return _above(value)
        raise Unfit(f"a list of {self.most} token ids at most, none of them negative")


@dataclass(frozen=True, slots=True)
class IdLists:
    """Token ids, or a list of lists of them."""

    lists: int
    most: int  # ids of each

    def needs(self, value: object) -> int:
        ids = Ids(self.most)
        if isinstance(value, list) and types(value) == {list} and len(value) <= self.lists:
            return max(map(ids.needs, value))
        return ids.needs(value)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text, token ids, or a list of so many of either. None may be empty: the engine dies of
    a prompt without a token. Some fields take only one of both."""

    most: int
    texts: bool = True
    ids: bool = True

    def needs(self, value: object) -> int:
        if self.texts and isinstance(value, str) and value:
            return 0
        if isinstance(value, list):
            kinds, few = types(value), len(value) <= self.most
            if self.ids and kinds == {int}:
                return _above(value)
            if self.texts and few and kinds <= {str} and all(value):
                return 0
            if self.ids and few and kinds == {list} and all(value):
                return max(map(Ids(HIGHEST).needs, value))
        kinds_of = ["a string"] * self.texts + ["token ids"] * self.ids
        raise Unfit(
            f"{', '.join(kinds_of)}, or a list of {self.most} of these at most, none empty"
        )


@dataclass(frozen=True, slots=True)
class Bias:
    """An object from token ids to numbers."""

    low: float
    high: float

    def needs(self, value: object) -> int:
        if isinstance(value, dict) and all(map(_is_id, value)):
            numbers = value.values()
            if types(numbers) <= {int, float} and _within(numbers, self.low, self.high):
                return 1 + max(map(int, value), default=-1)
        raise Unfit(f"an object from token ids to numbers from {self.low:g} to {self.high:g}")


def _above(ids: list[int]) -> int:
    """One more than the highest. Raises `Unfit`."""
    different = set(ids)
    if min(different, default=0) >= 0 and (most := max(different, default=-1)) <= HIGHEST:
        return most + 1
    raise Unfit(f"token ids, from 0 to {HIGHEST} at most")


def _is_id(key: str) -> bool:
    """As JSON writes it: Python would also read `1_0`, ` 1` and other scripts' digits."""
    digits = key.isascii() and key.isdecimal() and len(key) <= len(str(HIGHEST))
    return digits and int(key) <= HIGHEST


def _within(numbers: Collection[float], low: float, high: float) -> bool:
    return low <= min(numbers, default=low) and max(numbers, default=high) <= high
