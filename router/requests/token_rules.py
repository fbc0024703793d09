"""Rules for values that contain tokens, and so need a large enough vocabulary.

For a prompt of a million ids, only `set` visits each id; anything slower would take too long.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from router.requests.rules import Unfit, Whole, is_number, types

HIGHEST = 2**31 - 1  # the highest possible token id of any model


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The number of top tokens to return, or a boolean: `true` is 1, as in pydantic."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, bool):
            return 0
        Whole(0, self.most).needs(value)
        return int(value) if is_number(value) else 0


@dataclass(frozen=True, slots=True)
class Ids:
    """A list of at most `most` token ids."""

    most: int

    def needs(self, value: object) -> int:
        if isinstance(value, list) and len(value) <= self.most and types(value) <= {int}:
            return _above(value)
        raise Unfit(f"a list of {self.most} token ids at most, none of them negative")


@dataclass(frozen=True, slots=True)
class IdLists:
    """Token ids, or a list of lists of them."""

    lists: int
    most: int  # ids per list

    def needs(self, value: object) -> int:
        ids = Ids(self.most)
        if isinstance(value, list) and types(value) == {list} and len(value) <= self.lists:
            return max(map(ids.needs, value))
        return ids.needs(value)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text, token ids, or a list of at most `most` of either.

    None of them may be empty, because a prompt without tokens kills the engine. Some fields
    accept only texts or only ids.
    """

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
    """An object that maps token ids to numbers."""

    low: float
    high: float

    def needs(self, value: object) -> int:
        if isinstance(value, dict) and all(map(_is_id, value)):
            numbers = value.values()
            if types(numbers) <= {int, float} and _within(numbers, self.low, self.high):
                return 1 + max(map(int, value), default=-1)
        raise Unfit(f"an object from token ids to numbers from {self.low:g} to {self.high:g}")


def _above(ids: list[int]) -> int:
    """One more than the highest id. Raises `Unfit`."""
    different = set(ids)
    if min(different, default=0) >= 0 and (most := max(different, default=-1)) <= HIGHEST:
        return most + 1
    raise Unfit(f"token ids, from 0 to {HIGHEST} at most")


def _is_id(key: str) -> bool:
    """Whether it is an id in JSON's notation. Python's `int` also accepts `1_0`, ` 1`, and
    digits of other scripts."""
    digits = key.isascii() and key.isdecimal() and len(key) <= len(str(HIGHEST))
    return digits and int(key) <= HIGHEST


def _within(numbers: Collection[float], low: float, high: float) -> bool:
    return low <= min(numbers, default=low) and max(numbers, default=high) <= high
