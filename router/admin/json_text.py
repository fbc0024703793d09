"""JSON for the operator, of whatever is to be shown."""

from __future__ import annotations

import orjson

_LARGEST = 1 << 63  # of a number that `orjson` writes


def to_json(content: object) -> bytes:
    """`content` as JSON in one line.

    Engines, repositories and the Hub have a say in what is shown. `orjson` refuses halves of
    characters and numbers of more than 64 bits, and one of them may not hide all else.
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
