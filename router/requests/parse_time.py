"""Estimates how long a body takes to parse, before it is parsed."""

from __future__ import annotations

import math

from router.requests.reasoning import HIGHEST_RATIO, MOST_BYTES
from router.side_process import Body

# The longest time of `parse` on a slow machine, for any shape of body. In seconds: per byte
# (escapes are the slowest text), and per comma or bracket (each with its own key).
_PER_BYTE, _PER_VALUE = 10e-9, 1.5e-6
# Per byte of a regex or a grammar, which are parsed in Python, and of a schema's reference.
_PER_EXPRESSION, _PER_REFERENCE = 7e-6, 0.3e-6
# Per byte of packed reasoning, which is unpacked to find its size.
_PER_UNPACKED = 10e-9
_FEW = 512  # bytes; a body this short is always fast
_EXPRESSIONS = (b"regex", b"ebnf", b"grammar", b"pattern", b"patternProperties")
_PACKED = b"sglang"  # the first letters of packed reasoning
_COUNTED = 1 << 20  # bytes; longer bodies always take long


def parse_time(body: Body) -> float:
    """An upper estimate of the seconds that `parse` takes."""
    if not isinstance(body, bytes) or len(body) > _COUNTED:
        return math.inf
    values = count_values(body) * _PER_VALUE
    return len(body) * _per_byte(body) + values + _most_unpacked(body) * _PER_UNPACKED


def _per_byte(body: bytes) -> float:
    if len(body) < _FEW:
        return _PER_BYTE
    if _may_escape(body) or any(_may_name(body, key) for key in _EXPRESSIONS):
        return _PER_EXPRESSION
    return _PER_REFERENCE if _may_name(body, b"ref") else _PER_BYTE


def _most_unpacked(body: bytes) -> int:
    """The maximum size of its packed reasoning. If letters of the names are escaped, the time
    per byte is long enough."""
    if _PACKED not in body or not _may_name(body, b"encrypted_content"):
        return 0
    return min(MOST_BYTES, len(body) * HIGHEST_RATIO)


def _may_name(body: bytes, key: bytes) -> bool:
    """Whether this may be the end of a key, also in JSON inside a string."""
    return key in body and (key + b'"' in body or key + b"\\" in body)


def _may_escape(body: bytes) -> bool:
    r"""Whether a letter may be written as `\u0070`, also in JSON inside a string.

    The backtick is not a letter: .NET's clients write it as `\u0060` in every piece of code.
    """
    if b"\\\\u" in body:
        return True
    if b"\\u00" not in body:
        return False
    if body.count(b"\\u006") > body.count(b"\\u0060"):
        return True
    return b"\\u004" in body or b"\\u005" in body or b"\\u007" in body


def count_values(body: bytes) -> int:
    """Count the commas and brackets. A body has at most that many values."""
    return len(body) - len(body.translate(None, b",[{"))
