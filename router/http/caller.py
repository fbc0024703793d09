"""What the headers of a request say of its caller: API key, Hub token and request id."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Collection, Iterable, Iterator

from aiohttp import web

from router.errors import InvalidApiKey, InvalidRequest

REQUEST_ID = "X-Request-Id"
_PLAUSIBLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


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


def hf_token(request: web.BaseRequest) -> str | None:
    """The caller's Hub token, unchecked. Raises `InvalidRequest` for more than one."""
    values = request.headers.getall("X-HF-Token", [])
    if len(values) > 1:
        raise InvalidRequest("`X-HF-Token` is there more than once.", param="X-HF-Token")
    return values[0] if values else None


def request_id_of(request: web.BaseRequest) -> str:
    """The caller's own id, if it is a plausible one, else a new one."""
    own = request.headers.get(REQUEST_ID, "")
    return own if _PLAUSIBLE_ID.fullmatch(own) else new_request_id()


def new_request_id() -> str:
    return uuid.uuid4().hex
