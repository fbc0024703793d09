"""Writes JSON for the operator from untrusted content."""

from __future__ import annotations

import orjson

_LARGEST = 1 << 63  # limit of the numbers that `orjson` writes


def to_json(content: object) -> bytes:
    """`content` as JSON in one line.

    Parts of it come from engines, repositories and the Hub. `orjson` refuses lone surrogates
    and numbers of more than 64 bits; a single one of them must not hide everything else.
    """
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_writable(content))


def _writable(content: object) -> object:
    match content:
        case dict():
            return {_writable(key): _writable(value) for key, value in content.items()}
        case list() | tuple():
            return [_writable(one) for one in content]
        case str():
            return content.encode(errors="backslashreplace").decode()
        case int() if not -_LARGEST <= content < _LARGEST:
            return str(content)
    return content
