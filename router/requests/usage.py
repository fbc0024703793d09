"""Finds how many tokens an answer took, in the last bytes of it."""

from __future__ import annotations

import re
from typing import NamedTuple

TAIL = 2048  # bytes of one piece that are looked at
_USAGE = (b'"usage":{', b'"usage": {')
_META = (b'"meta_info":{', b'"meta_info": {')  # SGLang's own, of /generate
_LONGEST = 600  # bytes of a `usage` that are read
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


def _number(pattern: re.Pattern[bytes], usage: bytes) -> int | None:
    found = pattern.search(usage)
    return int(found[1]) if found else None
