"""Secrets that don't show up in output by accident."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import NoReturn

from router.errors import InvalidHfToken

# huggingface_hub repeats a malformed token in its exceptions and its debug log, so it must
# only get tokens of this shape.
_QUOTES = ('"', "'", "`", "\u201c", "\u201d", "\u2018", "\u2019")
_SHAPE = re.compile(r"[A-Za-z0-9_.-]{8,512}")
_LONGEST_FILE = 4096  # bytes: of one token, with what may stand around it


def flaw_of(secret: str) -> str | None:
    """What was likely done wrong with a secret before it came here; None: nothing known.

    Never holds any of it. Reads as the end of a sentence about it.
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


# Digests get into journals, logs and errors, and a weak API key could be guessed from a plain
# one. With this key, which ends with the process, they tell equal from unequal and no more.
_KEY = os.urandom(32)


def digest_of(secret: str) -> str:
    """What stands for a secret, in hex: the same for the same secret in this process alone."""
    data = secret.encode(errors="surrogateescape")
    return hashlib.blake2b(data, key=_KEY, digest_size=32).hexdigest()


class Secret:
    """A text that can't be printed, formatted, copied or pickled. Only `reveal` shows it."""

    __slots__ = ("_digest", "_secret")

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._digest = digest_of(secret)

    @property
    def digest(self) -> str:
        """See `digest_of`. Used in place of the secret as a key, for example of caches."""
        return self._digest

    def reveal(self) -> str:
        """The secret itself, to be sent to its destination or to be redacted from a text."""
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
    """A Hugging Face token. Revealed only to the Hub, and to engines that may have it."""

    __slots__ = ()

    def __init__(self, secret: str) -> None:
        """Raises `InvalidHfToken`, without the value, if the shape is wrong."""
        if not _SHAPE.fullmatch(secret):
            flaw = flaw_of(secret) or "this one has other characters, or another length"
            raise InvalidHfToken(
                "The Hugging Face token is malformed: send the bare token (hf_...), 8 to 512 "
                f"letters, digits, `_`, `.` and `-`; {flaw}."
            )
        super().__init__(secret)


def token_text(path: Path) -> str:
    """What a file of one token holds, which may be a pipe. Never more than a token can be: the
    rest is not read. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(_LONGEST_FILE).decode(errors="replace").strip()
