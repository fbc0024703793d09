"""Reads SGLang's validation errors: the fields at fault, without the input."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BEGINS = re.compile(r"[0-9]{1,4} validation errors?:\n")
# It prints pydantic's errors as Python literals, one per line, and then repeats all of them.
_FINDING = re.compile(
    r"^  \{'type': '[a-z_]{1,40}', 'loc': \('body'(?:, (.{1,400}?))?,?\), "
    r"'msg': (?:'([^']{1,400})'|\"([^\"]{1,400})\")",
    re.MULTILINE,
)
_STEP = re.compile(r"'([^']*)'|([0-9]+)")
_MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class FieldsAtFault:
    """`field`: the first field at fault; None: the body as a whole."""

    message: str
    field: str | None


def told_by_field(message: str) -> FieldsAtFault | None:
    """Returns None if this is not a list of validation errors in SGLang's form."""
    if not _BEGINS.match(message):
        return None
    found = [
        (_path(place), (single or double).removeprefix("Value error, "))
        for place, single, double in _FINDING.findall(message)
    ]
    if not found:
        return None
    lines = dict.fromkeys(f"`{path or 'the body'}`: {what}" for path, what in found)
    return FieldsAtFault("; ".join(list(lines)[:_MOST_TOLD]), found[0][0] or None)


def _path(place: str) -> str:
    """A path such as `messages[0].role`, without pydantic's names of alternative classes."""
    path = ""
    for name, index in _STEP.findall(place):
        if index:
            path += f"[{index}]"
        elif name.isidentifier() and name == name.lower():
            path += f".{name}" if path else name
    return path
