"""Who may speak to the HTTP server at all."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable

from router.errors import InvalidApiKey


class ApiKeys:
    """The operator's keys, as digests. Without any, everyone may and nobody is told apart."""

    def __init__(self, keys: Collection[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def caller(self, offered: Iterable[str]) -> str:
        """Name the caller by the first key that is right. Raises `InvalidApiKey`."""
        if not self._digests:
            return ""
        for key in offered:
            digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
            # Every one is compared: how long it takes tells nothing.
            if sum(hmac.compare_digest(digest, known) for known in self._digests):
                return digest.hex()[:16]
        raise InvalidApiKey(
            "The API key is missing or wrong: send `Authorization: Bearer <key>`. A Hugging "
            "Face token goes into `X-HF-Token`."
        )
