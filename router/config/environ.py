"""Text into values: what an operator wrote, read strictly, with errors that help.

A cast takes the text and raises `ValueError` saying what is allowed; whoever knows where
the text stood turns that into a `SettingsError` naming key and value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import TypeVar

from router.errors import InvalidHfToken
from router.logs import redact
from router.secrets import Token

T = TypeVar("T")

_UNITS = {
    "": 1,
    "B": 1,
    **{letter: 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
}
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([KMGT]?(?:I?B)?)", re.IGNORECASE)
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
_NEVER = _FALSE | {"never"}


class SettingsError(Exception):
    """What the operator wrote can't be used: `key`, the value, and what may stand there."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key}={_shown(value)}: must be {allowed}")
        self.key = key


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable, for the reader, the README and the Hub listing.

    `default` is text as it could stand in the environment; empty means unset.
    """

    name: str
    meaning: str
    default: str = ""
    also: str = ""  # an older spelling, read where `name` is unset
    secret: bool = False


class Environ:
    """Reads the variables of a table, and no others, from a mapping."""

    def __init__(self, environ: Mapping[str, str], table: Mapping[str, Variable]) -> None:
        self._environ = environ
        self._table = table

    def text(self, name: str) -> str | None:
        """What is set, else the default, else None. Empty and blank count as unset."""
        variable = self._table[name]
        for spelling in (variable.name, variable.also):
            if value := self._environ.get(spelling, "").strip():
                return value
        return variable.default or None

    def optional(self, name: str, cast: Callable[[str], T]) -> T | None:
        """The value, or None where it is unset. Raises `SettingsError`."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return cast(text)
        except ValueError as error:
            shown = "***" if self._table[name].secret else text
            raise SettingsError(name, shown, str(error)) from None

    def value(self, name: str, cast: Callable[[str], T], otherwise: T | None = None) -> T:
        """The value; `otherwise` stands in where the table has no default."""
        value = self.optional(name, cast)
        if value is None:
            value = otherwise
        if value is None:
            raise SettingsError(name, "", "set")
        return value


def as_count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError("a whole number, 1 or more")
    return int(text)


def as_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("a port, 0 to 65535 (0: any free one)")
    return int(text)


def as_seconds(text: str) -> float:
    """A span that may be nought."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("a number of seconds, 0 or more")
    return float(text)


def as_deadline(text: str) -> float:
    """A span in which something is to happen."""
    if not _NUMBER.fullmatch(text) or float(text) == 0:
        raise ValueError("a number of seconds, above 0")
    return float(text)


def as_ttl(text: str) -> float | None:
    """Seconds, or None for never: `off` and `0`."""
    if text.lower() in _NEVER:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError("a number of seconds, or `off`")
    return float(text) or None


def as_size(text: str) -> int:
    """Bytes. As coreutils have it, `GB` is 10^9, and both `G` and `GiB` are 2^30."""
    match = _SIZE.fullmatch(text)
    if (
        match
        and (unit := _UNITS.get(match[2].upper()))
        and (size := int(float(match[1]) * unit))
    ):
        return size
    raise ValueError("a size above 0, such as 20GiB, 20GB or a number of bytes")


def as_flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("true or false")


def as_token(text: str) -> Token:
    try:
        return Token(text)
    except InvalidHfToken:
        raise ValueError(
            "a bare token (hf_...), without spaces or a `Bearer ` prefix"
        ) from None


def as_names(text: str) -> tuple[str, ...]:
    """Comma-separated; empty parts fall away."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_arguments(text: str) -> tuple[str, ...]:
    """Split as a POSIX shell would."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"words as for a shell ({error})") from None


def one_of(*choices: str) -> Callable[[str], str]:
    """A cast that takes one of the choices, in any letter case."""

    def cast(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"one of {', '.join(choices)}")

    return cast


def _shown(value: object) -> str:
    brief = Repr()
    brief.maxstring = brief.maxother = 100
    return brief.repr(redact(value) if isinstance(value, str) else value)
