r"""Decides whether an engine can follow a regex or an EBNF grammar quickly, token by token.

xgrammar 0.2.7 keeps every way to read the text so far. If a repeat contains parts of variable
length that run into each other, as in `(.*)*` or `(\w+ ?)+`, the number of ways grows with each
token, quadratically or worse, and the engine's scheduler computes nothing else: three nested
stars take a minute within 400 tokens. In `(\w+ )+` there is only one way at a time.

So an expression is parsed into parts, each with the characters that it can begin with. A repeat
is *open* if the repeated part can begin with a character that can also follow the repeat.
Inside another repeat, an open one must be short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import or_

MOST_CHARACTERS = 16384
_MOST_REPEATS = 256
_MOST_PARTS = 20_000  # parts visited; a rule of EBNF counts each time it is named
_SHORT = 64  # characters
_MOST_LENGTH = 1 << 53  # characters; far more than any answer has
_MOST_COUNTED = 256  # of consecutive open repeats

Characters = int  # a bit for each ASCII character, and one for all others
OTHERS: Characters = 1 << 128
ANY: Characters = (1 << 129) - 1


class TooHard(Exception):
    """The message says why. The caller gets it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression: characters, a sequence of parts, alternatives, or a repeat."""

    first: Characters  # characters that it can begin with
    every: Characters  # all characters in it
    shortest: float  # in characters
    longest: float
    parts: tuple[Part, ...] = ()
    one_of: bool = False
    low: float = 1
    high: float = 1

    @property
    def flexible(self) -> bool:
        return self.shortest != self.longest


NOTHING = Part(0, 0, 0, 0)


def one(characters: Characters) -> Part:
    return Part(characters, characters, 1, 1)


def sequence(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    first = 0
    for part in parts:
        first |= part.first
        if part.shortest:
            break
    shortest, longest = sum(p.shortest for p in parts), sum(p.longest for p in parts)
    return Part(first, _every(parts), *_bounded(shortest, longest), tuple(parts))


def one_of(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    first = reduce(or_, (part.first for part in parts))
    shortest, longest = min(p.shortest for p in parts), max(p.longest for p in parts)
    return Part(first, _every(parts), shortest, longest, tuple(parts), one_of=True)


def repeat(part: Part, low: float, high: float) -> Part:
    if high < low:
        raise TooHard("repeats something at most fewer times than at least")
    longest = part.longest * high if part.longest and high else 0
    lengths = _bounded(part.shortest * low, longest)
    return Part(part.first, part.every, *lengths, (part,), low=low, high=high)


def _bounded(shortest: float, longest: float) -> tuple[float, float]:
    """Counts in counts would make integers that no float can hold."""
    if shortest > _MOST_LENGTH:
        raise TooHard("matches only texts that are too long")
    return shortest, longest if longest <= _MOST_LENGTH else math.inf


def _every(parts: list[Part]) -> Characters:
    return reduce(or_, (part.every for part in parts))


class _Check:
    """Checks each part together with the characters that can follow it."""

    def __init__(self) -> None:
        self._left, self._repeats = _MOST_PARTS, 0
        self._open, self._counted = 0, 0.0

    def whole(self, part: Part) -> None:
        self.is_open(part, 0)
        if self._open > 1 and self._counted > _MOST_COUNTED:
            raise TooHard(
                "has several repeats of which nothing tells where one ends and the next "
                f"begins, with counts of more than {_MOST_COUNTED} in all"
            )

    def is_open(self, part: Part, follow: Characters) -> bool:
        """Whether the text of `part` can be read in several ways. Raises `TooHard`."""
        self._left -= 1
        if self._left < 0:
            raise TooHard("is too large")
        if (part.low, part.high) != (1, 1):
            return self._repeat(part, follow)
        found = part.one_of and bool(part.every & follow) and _overlap(part.parts)
        for inner in reversed(part.parts):
            found |= self.is_open(inner, follow)
            if not part.one_of:
                follow = inner.first | (0 if inner.shortest else follow)
        return found

    def _repeat(self, part: Part, follow: Characters) -> bool:
        (inner,) = part.parts
        again = inner.first if part.high > 1 else 0
        self._repeats += 1
        if self._repeats > _MOST_REPEATS:
            raise TooHard(f"has more than {_MOST_REPEATS} repeats")
        unclear = self.is_open(inner, follow | again) or not inner.shortest
        times = part.high if math.isfinite(part.high) else 1
        if again and inner.flexible and unclear and inner.longest * times > _SHORT:
            raise TooHard(
                "repeats something that has repeats itself, of which nothing tells where one "
                "ends and the next begins"
            )
        is_open = part.low != part.high and bool(inner.first & follow)
        if is_open:
            self._open += 1
            self._counted += times if times > 1 else 0
        return is_open or (unclear and inner.flexible)


def _overlap(parts: tuple[Part, ...]) -> bool:
    seen = 0
    for part in parts:
        if seen & part.first:
            return True
        seen |= part.first
    return False


def check(part: Part) -> None:
    """Raise `TooHard` for an expression that could keep an engine busy forever."""
    _Check().whole(part)
