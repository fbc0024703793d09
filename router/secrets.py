"""Secret values that do not show up in output by accident."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NoReturn

from router.errors import InvalidHfToken

# huggingface_hub repeats a malformed token in its exceptions and its debug log, so it must only
# get tokens of this shape.
_QUOTES = ('"', "'", "`", "\u201c", "\u201d", "\u2018", "\u2019")
_SHAPE = re.compile(r"[A-Za-z0-9_.-]{8,512}")
_LONGEST_FILE = 4096  # bytes; a token with some surrounding text


def flaw_of(secret: str) -> str | None:
    """The likely mistake in a secret, as the end of a sentence about it; None: nothing obvious.

    The result never contains any part of the secret.
    """
    text = secret.strip()
    if text.startswith(("{{", "${")) or text.endswith("}}"):
        return (
            "this one is an unresolved reference: the secret that it names does not exist here"
        )
    if text.startswith(_QUOTES) or text.endswith(_QUOTES):
        return "this one stands in quotes: leave them out"
    if text[:7].lower() == "bearer ":
        return "this one begins with `Bearer `: leave that out"
    if any(character.isspace() for character in secret):
        return "this one has spaces or line breaks: leave them out"
    return None


# Digests appear in journals, logs and errors, and a weak API key could be guessed from a plain
# digest. This random key lives as long as the process, so the digests only show equality.
_KEY = os.urandom(32)


def digest_of(secret: str) -> str:
    """A keyed digest of a secret, in hex. It is stable only within this process."""
    data = secret.encode(errors="surrogateescape")
    return hashlib.blake2b(data, key=_KEY, digest_size=32).hexdigest()


class Secret:
    """A text that can't be printed, formatted, copied or pickled. Only `reveal` returns it."""

    __slots__ = ("_digest", "_secret")

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._digest = digest_of(secret)

    @property
    def digest(self) -> str:
        """See `digest_of`. Use it in place of the secret, for example as a cache key."""
        return self._digest

    def reveal(self) -> str:
        """Return the secret itself, to send it to its destination or to redact it."""
        return self._secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} must not leave its process by pickling")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


class Token(Secret):
    """A Hugging Face token. It is revealed only to the Hub and to engines that may have it."""

    __slots__ = ()

    def __init__(self, secret: str) -> None:
        """Raises `InvalidHfToken`, without the value, if the token is malformed."""
        if not _SHAPE.fullmatch(secret):
            flaw = flaw_of(secret) or "this one has other characters, or another length"
            raise InvalidHfToken(
                "The Hugging Face token is malformed: send the bare token (hf_...), 8 to 512 "
                f"letters, digits, `_`, `.` and `-`; {flaw}."
            )
        super().__init__(secret)


def token_text(path: Path) -> str:
    """Read a token from a file or a pipe: at most 4096 bytes. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(_LONGEST_FILE).decode(errors="replace").strip()
