r"""Whether an engine can follow a regex or a grammar in EBNF, token by token, without trouble.

xgrammar 0.2.7 keeps every way in which the text so far can be read. Where a repeat holds parts
of no fixed length that run into each other, as in `(.*)*` or `(\w+ ?)+`, the ways grow with
each token, squared or worse, and the scheduler of the engine computes nothing else: three
nested stars take a minute within 400 tokens. In `(\w+ )+` there is one way at a time.

So an expression is read into parts, each with the characters that it can begin with. A
repeat is *open* if what it repeats can begin with a character that can also follow it.
Within another repeat an open one may only be short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import or_

MOST_CHARACTERS = 16384
_MOST_REPEATS = 256
_MOST_PARTS = 20_000  # looked at, a rule of EBNF as often as it is named
_SHORT = 64  # characters
_MOST_COUNTED = 256  # of open repeats in a row

Characters = int  # a bit for each of ASCII, and one for all others
OTHERS: Characters = 1 << 128
ANY: Characters = (1 << 129) - 1


class TooHard(Exception):
    """The message says why, and goes to the caller."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression: some characters, or parts one after another, or one of several,
    or one repeated."""

    first: Characters  # that it can begin with
    every: Characters  # that are in it
    shortest: float  # characters
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
    return Part(first, _every(parts), shortest, longest, tuple(parts))


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
    shortest = part.shortest * low
    return Part(part.first, part.every, shortest, longest, (part,), low=low, high=high)


def _every(parts: list[Part]) -> Characters:
    return reduce(or_, (part.every for part in parts))


class _Check:
    """Looks at each part with what can follow it."""

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
    """Raise `TooHard` for an expression that could keep an engine busy for ever."""
    _Check().whole(part)
