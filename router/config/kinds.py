"""The types of values that settings have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from router.config import parsers
from router.config.patterns import Patterns
from router.secrets import Secret, Token

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value: how text is parsed, and how RunPod Hub's form asks for it."""

    parse: Callable[[str], T]  # raises a `ValueError` that says what is allowed
    noun: str  # the type and its unit, for the tables
    hint: str = ""  # a sentence for the form on how to write it
    form: str = "string"  # the form's type: string, number or boolean
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()


_COMMAS = "Comma-separated."
TEXT = Kind(str, "text")
COUNT = Kind(parsers.as_count, "whole number", form="number", minimum=1)
PLACES = Kind(parsers.as_places, "whole number", form="number", minimum=0)
PORT = Kind(parsers.as_port, "port", form="number", minimum=0, maximum=65535)
SECONDS = Kind(parsers.as_seconds, "seconds", form="number", minimum=0)
DEADLINE = Kind(parsers.as_deadline, "seconds", form="number", minimum=1)
TTL = Kind(parsers.as_ttl, "seconds, or `off`")
SIZE = Kind(parsers.as_size, "size, such as `20GiB`", "A size with its unit, such as 20GiB.")
SIZE_OR_OFF = Kind(
    parsers.as_size_or_off,
    "size, such as `20GiB`, or 0",
    "A size with its unit, such as 20GiB.",
)
FLAG = Kind(parsers.as_flag, "true or false", form="boolean")
PATH = Kind(Path, "path")
URL = Kind(parsers.as_origin, "URL")
NAMES = Kind(parsers.as_names, "names", _COMMAS)
HOSTS = Kind(parsers.as_hosts, "host names", _COMMAS)
OWN_HOSTS = Kind(parsers.as_own_hosts, "host names", _COMMAS)
ORIGINS = Kind(parsers.as_origins, "origins", _COMMAS)
PATTERNS = Kind(Patterns.parse, "patterns", _COMMAS)
TOKEN: Kind[Token] = Kind(parsers.as_token, "token")
KEYS: Kind[tuple[Secret, ...]] = Kind(parsers.as_keys, "keys", _COMMAS)
KEY: Kind[Secret] = Kind(parsers.as_key, "key")


def one_of(*choices: str) -> Kind[str]:
    return Kind(parsers.as_one_of(*choices), ", ".join(choices), choices=choices)
