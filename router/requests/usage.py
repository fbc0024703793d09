"""Finds how many tokens an answer took, in the last bytes of it."""

from __future__ import annotations

import re
from typing import NamedTuple

TAIL = 2048  # bytes of one piece that are looked at
_USAGE = (b'"usage":{', b'"usage": {')
_LONGEST = 600  # bytes of it that are read
# No text inside of a JSON string matches: its quotes are escaped.
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s?([0-9]{1,9})(?![0-9])')
_COMPLETION = re.compile(rb'"(?:completion|output)_tokens":\s?([0-9]{1,9})(?![0-9])')


class Tokens(NamedTuple):
    """None where the engine does not say."""

    prompt: int | None = None
    completion: int | None = None


def read_tokens(text: bytes) -> Tokens:
    """The latest `usage` in a part of an answer, of any dialect."""
    at = max(map(text.rfind, _USAGE))
    if at < 0:
        return Tokens()
    usage = text[at : at + _LONGEST]
    return Tokens(_number(_PROMPT, usage), _number(_COMPLETION, usage))


def _number(pattern: re.Pattern[bytes], usage: bytes) -> int | None:
    found = pattern.search(usage)
    return int(found[1]) if found else None
