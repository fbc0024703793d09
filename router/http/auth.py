"""The operator's API keys: without a right one, the HTTP server answers nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator

from aiohttp import web

from router.errors import InvalidApiKey


class ApiKeys:
    """The operator's keys, as digests. Without any, every caller is let in, as the same one."""

    def __init__(self, keys: Collection[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def caller(self, offered: Iterable[str]) -> str:
        """Name the caller by the first key that is right. Raises `InvalidApiKey`."""
        if not self._digests:
            return ""
        for key in offered:
            digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
            # Compare with every key, so that the time tells nothing.
            if sum(hmac.compare_digest(digest, known) for known in self._digests):
                return digest.hex()[:16]
        raise InvalidApiKey(
            "The API key is missing or wrong: send `Authorization: Bearer <key>`. A Hugging "
            "Face token goes into `X-HF-Token`."
        )


def offered_keys(request: web.BaseRequest) -> Iterator[str]:
    """The keys of a request: `Authorization: Bearer`, or Anthropic's `x-api-key`."""
    for value in request.headers.getall("Authorization", ()):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    yield from request.headers.getall("x-api-key", ())
