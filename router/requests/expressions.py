"""Parses regexes and EBNF grammars into the parts that `patterns` checks.

It supports only the syntax of xgrammar and refuses the rest: a caller can write most of that in
another way.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod

from router.requests.patterns import (
    ANY,
    MOST_CHARACTERS,
    NOTHING,
    OTHERS,
    Characters,
    Part,
    TooHard,
    check,
    one,
    one_of,
    repeat,
    sequence,
)

_MOST_DEPTH = 50  # nested groups
_DIGITS = sum(1 << code for code in b"0123456789")
_WORD = _DIGITS | sum(1 << c for c in range(128) if chr(c).isalnum() or c == 95) | OTHERS
_SPACE = sum(1 << code for code in b" \t\n\r\f\v") | OTHERS
_KINDS = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_KINDS |= {name.upper(): ANY & ~(kind & ~OTHERS) for name, kind in _KINDS.items()}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_HEX = re.compile(r"x([0-9a-fA-F]{2})|[uU]([0-9a-fA-F]{4,8})|u\{([0-9a-fA-F]{1,6})\}")
# Possessive quantifiers: a run of white space would be tried at each split.
_BRACES = re.compile(r"\{\s*+(\d{1,10})\s*+(?:(,)\s*+(\d{1,10})?\s*+)?\}")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*+")
_NAME = re.compile(r"[A-Za-z_][\w.-]*+")
# Contains no groups, so that its end is unambiguous.
_LOOK_AHEAD = re.compile(r"\(\?[=!](?:[^()\[\]\\]|\\[^()\[\]]|\[[^()\[\]\\]*\])*+\)")
_GROUP = re.compile(r"\(\?(?::|P?<[A-Za-z_]\w*>)")


def check_regex(text: str) -> None:
    """Raises `TooHard`."""
    check(_Regex(text).read())


def check_pattern(text: str) -> None:
    """Check a pattern in a JSON schema. Raises `TooHard`."""
    check(_Pattern(text).read())


def check_ebnf(text: str) -> None:
    """Raises `TooHard`."""
    check(_Ebnf(text).read())


class _Reader(ABC):
    """A position in a text, and the syntax that both notations share."""

    blank = re.compile(r"")

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise TooHard(f"has more than {MOST_CHARACTERS} characters")
        self.text, self.at, self._depth = text, 0, 0

    def skip(self) -> None:
        if found := self.blank.match(self.text, self.at):
            self.at = found.end()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, what: str) -> bool:
        if self.text.startswith(what, self.at):
            self.at += len(what)
            return True
        return False

    def unreadable(self) -> TooHard:
        return TooHard(f"can't be read at character {self.at}")

    def choice(self) -> Part:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise TooHard(f"has more than {_MOST_DEPTH} groups in groups")
        found = [self.row()]
        while self.take("|"):
            found.append(self.row())
        self._depth -= 1
        return one_of(found)

    def row(self) -> Part:
        parts: list[Part] = []
        self.skip()
        while self.at < len(self.text) and self.peek() not in "|)" and not self.ends():
            parts.append(self.counted(self.item()))
            self.skip()
        return sequence(parts) if parts else NOTHING

    def ends(self) -> bool:
        return False

    @abstractmethod
    def item(self) -> Part:
        """Read the next item, which a quantifier may follow."""

    def counted(self, part: Part) -> Part:
        """Apply the next quantifier, if there is one."""
        self.skip()
        if self.take("*"):
            return repeat(part, 0, math.inf)
        if self.take("+"):
            return repeat(part, 1, math.inf)
        if self.take("?"):
            return repeat(part, 0, 1)
        if found := _BRACES.match(self.text, self.at):
            self.at = found.end()
            low = int(found[1])
            high = int(found[3]) if found[3] else math.inf if found[2] else low
            return repeat(part, low, high)
        return part

    def group(self) -> Part:
        part = self.choice()
        if not self.take(")"):
            raise self.unreadable()
        return part

    def escaped(self) -> Characters:
        """Read the rest of an escape, after the backslash."""
        if found := _HEX.match(self.text, self.at):
            self.at = found.end()
            return _bit(int(found[1] or found[2] or found[3], 16))
        letter = self.peek()
        self.at += 1
        if letter in _KINDS:
            return _KINDS[letter]
        if letter in _CONTROLS:
            return _bit(ord(_CONTROLS[letter]))
        if not letter or letter.isalnum():  # a backreference, a boundary or a property
            raise self.unreadable()
        return _bit(ord(letter))

    def char_class(self) -> Part:
        """Read the rest of a character class, after the opening bracket."""
        negated, found, last = self.take("^"), 0, -1
        while not self.take("]"):
            if self.at >= len(self.text):
                raise self.unreadable()
            if last >= 0 and self.peek() == "-" and self.text[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                found |= _span(last, self._member()[1])
                last = -1
                continue
            characters, last = self._member()
            found |= characters
        if not found and not negated:  # an empty class matches nothing
            raise self.unreadable()
        return one((ANY & ~(found & ~OTHERS)) if negated else found)

    def _member(self) -> tuple[Characters, int]:
        start = self.at
        if self.take("\\"):
            characters = self.escaped()
            code = characters.bit_length() - 1
            return characters, code if characters == 1 << code else -1
        self.at = start + 1
        code = ord(self.text[start]) if start < len(self.text) else 0
        return _bit(code), min(code, 128)


class _Regex(_Reader):
    def read(self) -> Part:
        part = self.choice()
        if self.at < len(self.text):
            raise self.unreadable()
        return part

    def item(self) -> Part:
        if found := _GROUP.match(self.text, self.at):
            self.at = found.end()
            return self.group()
        if self.text.startswith("(?", self.at) or self.peek() in "*+?":
            raise self.unreadable()
        if self.take("("):
            return self.group()
        if self.take("["):
            return self.char_class()
        if self.take("\\"):
            return one(self.escaped())
        letter = self.peek()
        self.at += 1
        if letter in "^$":
            return NOTHING
        return one(ANY if letter == "." else _bit(ord(letter)))

    def counted(self, part: Part) -> Part:
        found = super().counted(part)
        if found is not part:
            self.take("?")  # lazy: it matches the same texts
        return found


class _Pattern(_Regex):
    """A pattern in a schema. xgrammar ignores lookaheads there, and Pydantic writes them for a
    `Decimal`."""

    def item(self) -> Part:
        if found := _LOOK_AHEAD.match(self.text, self.at):
            self.at = found.end()
            return NOTHING
        return super().item()


class _Ebnf(_Reader):
    blank = _BLANK

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._bodies: dict[str, int] = {}
        self._read: dict[str, Part | None] = {}  # None: it is being read

    def read(self) -> Part:
        """Read the grammar from the rule named root."""
        for found in re.finditer(r"(?:^|\n)[ \t]*([A-Za-z_][\w.-]*+)\s*::=", self.text):
            self._bodies[found[1]] = found.end()
        return self._rule("root")

    def _rule(self, name: str) -> Part:
        if name not in self._bodies:
            raise TooHard("names a rule that it does not have")
        if name in self._read:
            known = self._read[name]
            if known is None:
                raise TooHard("has a rule that leads back to itself")
            return known
        self._read[name] = None
        back, self.at = self.at, self._bodies[name]
        part = self._read[name] = self.choice()
        if self.at < len(self.text) and not self.ends():
            raise self.unreadable()
        self.at = back
        return part

    def ends(self) -> bool:
        """Whether another rule begins here."""
        if found := _NAME.match(self.text, self.at):
            blank = _BLANK.match(self.text, found.end())
            return self.text.startswith("::=", blank.end() if blank else found.end())
        return False

    def item(self) -> Part:
        if self.take('"'):
            return self._string()
        if self.take("["):
            return self.char_class()
        if self.text.startswith("(?", self.at) or self.text.startswith("(=", self.at):
            raise self.unreadable()
        if self.take("("):
            return self.group()
        if found := _NAME.match(self.text, self.at):
            self.at = found.end()
            return self._rule(found[0])
        raise self.unreadable()

    def _string(self) -> Part:
        parts: list[Part] = []
        while not self.take('"'):
            if self.at >= len(self.text):
                raise self.unreadable()
            if self.take("\\"):
                parts.append(one(self.escaped()))
            else:
                parts.append(one(_bit(ord(self.peek()))))
                self.at += 1
        return sequence(parts) if parts else NOTHING


def _bit(code: int) -> Characters:
    return 1 << code if code < 128 else OTHERS


def _span(low: int, high: int) -> Characters:
    """A range of codes; 128 stands for any code beyond ASCII, and -1 for no single
    character."""
    if high < low:
        raise TooHard("has a range that runs backwards")
    return sum(1 << code for code in range(low, min(high, 127) + 1)) | (
        OTHERS if high >= 128 else 0
    )
