"""Finds how many tokens an answer took, in the last bytes of it."""

from __future__ import annotations

import re
from typing import NamedTuple

TAIL = 2048  # bytes of one piece that are looked at
_USAGE = (b'"usage":{', b'"usage": {')
_META = (b'"meta_info":{', b'"meta_info": {')  # SGLang's own, of /generate
_LONGEST = 600  # bytes of a `usage` that are read
_LONGEST_COUNT = 40  # bytes: one number with its name
# No text inside of a JSON string matches: its quotes are escaped.
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s?([0-9]{1,9})(?![0-9])')
_COMPLETION = re.compile(rb'"(?:completion|output)_tokens":\s?([0-9]{1,9})(?![0-9])')


class Tokens(NamedTuple):
    """None where the engine does not say."""

    prompt: int | None = None
    completion: int | None = None


def read_tokens(text: bytes) -> Tokens:
    """The latest `usage` or `meta_info` in a part of an answer, of any dialect."""
    at = max(map(text.rfind, _USAGE))
    if at >= 0:
        usage = text[at : at + _LONGEST]
    elif (at := max(map(text.rfind, _META))) >= 0:
        usage = text[at:]  # long where it holds log probabilities
    else:
        return Tokens()
    return Tokens(_number(_PROMPT, usage), _number(_COMPLETION, usage))


# As `_PROMPT` and `_COMPLETION`, but quick to find in a long text.
_COUNT = re.compile(rb'_tokens":\s?([0-9]{1,9})(?![0-9])')
_OF_PROMPT, _OF_COMPLETION = (b'"prompt', b'"input'), (b'"completion', b'"output')


class TokenSums:
    """Adds up what an answer tells that is a list: each of its results has a `meta_info`."""

    __slots__ = ("_completion", "_prompt", "_rest")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._completion: int | None = None
        self._rest = b""  # the end of the last piece, with what may go on in the next one

    def add(self, piece: bytes) -> None:
        text, begin = self._rest + piece, 0
        for found in _COUNT.finditer(text):
            if found.end() == len(text):
                break  # there may be more digits
            begin = found.end()
            self._note(text[max(0, found.start() - 16) : found.start()], int(found[1]))
        self._rest = text[max(begin, len(text) - _LONGEST_COUNT) :]

    def _note(self, before: bytes, number: int) -> None:
        if before.endswith(_OF_PROMPT):
            self._prompt = (self._prompt or 0) + number
        elif before.endswith(_OF_COMPLETION):
            self._completion = (self._completion or 0) + number

    @property
    def tokens(self) -> Tokens:
        return Tokens(self._prompt, self._completion)


def _number(pattern: re.Pattern[bytes], usage: bytes) -> int | None:
    found = pattern.search(usage)
    return int(found[1]) if found else None
