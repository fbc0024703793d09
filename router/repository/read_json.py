"""Reads a repository's JSON as an engine does: with Python's `json`, from UTF-8."""

from __future__ import annotations

import json
import re
from pathlib import Path

from router.errors import UnsupportedModel

# The largest files describe the quantization of each expert: 4 to 6 MB at DeepSeek's size.
MAX_FILE_BYTES = 8 << 20

_UNUSUAL = re.compile(r"[^\w.-]")
_LONGEST = 64  # characters of a repository's text in a message


def read_json(file: Path, name: str) -> object:
    """Return the content of a file. `name`: its path in the repository.

    Raises `UnsupportedModel` if the file is too large, too deep, or not JSON. `NaN`, `Infinity`
    and duplicate keys are accepted, because an engine accepts them. The last of duplicate keys
    wins.
    """
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UnsupportedModel(f"The model's {name} has more than {MAX_FILE_BYTES} bytes.")
    try:
        return json.loads(file.read_bytes().decode())
    except RecursionError:
        raise UnsupportedModel(f"The model's {name} is nested too deeply.") from None
    except ValueError as error:
        raise UnsupportedModel(
            f"The model's {name} is not valid JSON: {_why(error)}."
        ) from None


def _why(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}"
    return "it is not UTF-8" if isinstance(error, UnicodeError) else "a number is too long"


def shown(value: object) -> str:
    """A repository's name for something, safe to repeat in a message."""
    return f"`{_UNUSUAL.sub('?', str(value)[:_LONGEST])}`"


def printable(key: str) -> str:
    """A key for a message. JSON may contain lone surrogates, which can't be sent."""
    return key.encode(errors="backslashreplace").decode()
