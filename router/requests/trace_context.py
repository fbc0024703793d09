"""The caller's trace (W3C Trace Context), which is passed on to the engine or dropped.

It becomes part of the router's own request, so it is validated strictly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PARENT, STATE = "traceparent", "tracestate"

_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)
_LONGEST_STATE = 512  # characters that each system must pass on
_MOST_MEMBERS = 32
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
# Printable ASCII without comma and equals sign, not ending in a space.
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"{_KEY}={_VALUE}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Trace:
    """Valid values of both headers. `state`: "" for none."""

    parent: str
    state: str = ""


def read_trace(parents: Sequence[str], states: Sequence[str]) -> Trace | None:
    """Parse both headers. Returns None if there is no valid parent.

    As the standard says, an invalid or overlong state is dropped alone.
    """
    if len(parents) != 1 or not _is_parent(parents[0]):
        return None
    return Trace(parents[0], _state(states))


def _is_parent(text: str) -> bool:
    """Accepts version 00, and later versions without additional fields."""
    found = _PARENT.fullmatch(text)
    return found is not None and not text.startswith("ff") and all(map(_counts, found.groups()))


def _counts(identifier: str) -> bool:
    return identifier.strip("0") != ""


def _state(states: Sequence[str]) -> str:
    if sum(map(len, states)) > _LONGEST_STATE:
        return ""
    members = [one.strip(" \t") for state in states for one in state.split(",")]
    members = [one for one in members if one]
    keys = {one.partition("=")[0] for one in members}
    valid = len(keys) == len(members) <= _MOST_MEMBERS and all(map(_MEMBER.fullmatch, members))
    text = ",".join(members)
    return text if valid and len(text) <= _LONGEST_STATE else ""
