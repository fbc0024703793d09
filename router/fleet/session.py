"""Session keys: two requests with the same beginning share one, and a prefix cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b

_MOST = 4096  # characters of a prompt without messages


def session_key(body: Mapping[str, object], caller: str = "") -> str:
    """A digest of the messages up to the user's first one, or of a prompt; "" without any.

    `caller` is a digest of the caller's key or token. Engines keep callers' prefixes apart, so
    two callers share nothing. The text can't be recovered from the digest.
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
