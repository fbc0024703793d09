"""What makes two requests one session: they begin alike, so one prefix cache serves both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b

_MOST = 4096  # characters of a prompt that has no messages


def session_key(body: Mapping[str, object], caller: str = "") -> str:
    """A digest of the first messages, up to the first one of the user; "" without any.

    `caller`: a digest of the caller's key or token. Engines keep callers' prefixes apart, so
    two callers have nothing in common. The text itself can't be read from the key.
    """
    begins = _beginning(body)
    if not begins:
        return ""
    text = json.dumps([caller, begins], sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _beginning(body: Mapping[str, object]) -> object:
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        first = next((n for n, one in enumerate(messages) if _is_users(one)), len(messages) - 1)
        return [body.get("system"), messages[: first + 1]]
    for field in ("prompt", "input", "text"):
        text = body.get(field)
        if isinstance(text, str):
            return text[:_MOST]
    return ""


def _is_users(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "user"
