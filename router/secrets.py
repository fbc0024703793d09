"""Secrets that can be used but not shown."""

from __future__ import annotations

import hashlib
import re
from typing import NoReturn

from router.errors import InvalidHfToken

# A malformed token would stand verbatim in huggingface_hub's exceptions and debug log,
# so nothing but this shape is ever handed to it.
_SHAPE = re.compile(r"[A-Za-z0-9_.-]{8,512}")


class Secret:
    """A value that never prints, formats, copies or pickles itself: only `reveal` shows it."""

    __slots__ = ("_digest", "_secret")

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._digest = hashlib.sha256(secret.encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256, in hex: equal for equal secrets; the key of every cache."""
        return self._digest

    def reveal(self) -> str:
        """The secret itself, for the one place it is meant for, and for log redaction."""
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
        raise TypeError(f"a {type(self).__name__} does not leave its process by pickling")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


class Token(Secret):
    """One Hugging Face token. Only the Hub's adapters may reveal it, to the Hub."""

    __slots__ = ()

    def __init__(self, secret: str) -> None:
        """Raises `InvalidHfToken`, without repeating the value, where the shape is wrong."""
        if not _SHAPE.fullmatch(secret):
            raise InvalidHfToken(
                "The Hugging Face token is malformed: send the bare token (hf_...), "
                "without a `Bearer ` prefix, spaces or line breaks."
            )
        super().__init__(secret)
