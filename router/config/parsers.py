"""Parsers of values. Each raises a `ValueError` that says what is allowed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from urllib.parse import urlsplit

from router.config.hosts import Authority, Origin
from router.errors import InvalidHfToken
from router.secrets import Secret, Token, flaw_of

# As in coreutils: GB is 10^9 bytes, G and GiB are 2^30.
_UNITS = {
    "B": 1,
    **{letter: 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
}
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([KMGT]?(?:I?B)?)", re.IGNORECASE)
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
_NEVER = _FALSE | {"never"}


def as_count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError("a whole number, 1 or more")
    return int(text)


def as_places(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a whole number, 0 or more")
    return int(text)


def as_number(text: str) -> str:
    """A number, unchanged as text, for a command line."""
    if not re.fullmatch(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", text):
        raise ValueError("a number")
    return text


def as_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("a port, 0 to 65535 (0: any free one)")
    return int(text)


def as_seconds(text: str) -> float:
    """A time in seconds, which may be 0."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("a number of seconds, 0 or more")
    return float(text)


def as_deadline(text: str) -> float:
    """A deadline in seconds, above 0."""
    if not _NUMBER.fullmatch(text) or float(text) == 0:
        raise ValueError("a number of seconds, above 0")
    return float(text)


def as_ttl(text: str) -> float | None:
    """A time in seconds; None (never) for `off` and `0`."""
    if text.lower() in _NEVER:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError("a number of seconds, or `off`")
    return float(text) or None


def as_size(text: str) -> int:
    """Bytes, from a number with a unit: `75GiB` and `75G` (2^30), `75GB` (10^9), `75B`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("a size above 0, such as 20GiB, 20GB or 512B")
    number, unit = match[1], match[2].upper()
    if float(number) > 0 and not unit:
        # A bare 75 once meant 75 bytes. Nobody meant that.
        likely = f"{number}B" if float(number) >= 1024 else f"{number}GiB"
        raise ValueError(f"a size with a unit: add one, such as {likely}")
    size = int(float(number) * _UNITS.get(unit, 0))
    if not size:
        raise ValueError("a size above 0, such as 20GiB, 20GB or 512B")
    return size


def as_size_or_off(text: str) -> int:
    """Bytes, as in `as_size`; 0 for `0` and `off`."""
    return 0 if text.lower() in ("0", "off") else as_size(text)


def as_flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("true or false (also yes or no, on or off, 1 or 0)")


def as_token(text: str) -> Token:
    try:
        return Token(text)
    except InvalidHfToken:
        flaw = flaw_of(text) or "this one has other characters, or another length"
        raise ValueError(
            f"a bare token (hf_...), without spaces or a `Bearer ` prefix; {flaw}"
        ) from None


def as_names(text: str) -> tuple[str, ...]:
    """Comma-separated names, without the empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_keys(text: str) -> tuple[Secret, ...]:
    keys = as_names(text)
    flaw = next(filter(None, map(flaw_of, keys)), None)
    if flaw is not None:
        raise ValueError(f"comma-separated keys; {flaw}")
    # Shorter keys could be guessed, and redaction would remove common words from the log.
    if not all(re.fullmatch(r"[!-~]{8,512}", key) for key in keys):
        raise ValueError("comma-separated keys of 8 or more ASCII characters, without spaces")
    return tuple(map(Secret, keys))


def as_key(text: str) -> Secret:
    (key, *more) = as_keys(text) or (None,)
    if key is None or more:
        raise ValueError("one key of 8 or more ASCII characters, without spaces or commas")
    return key


def as_hosts(text: str) -> frozenset[str]:
    hosts = frozenset(host.lower() for host in as_names(text))
    if not all(re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", host) for host in hosts):
        raise ValueError("comma-separated host names, such as images.example.org")
    return hosts


def as_own_hosts(text: str) -> frozenset[str]:
    """Hosts that this server serves: names, addresses, `*.name`, or `*`."""
    patterns = [_host_pattern(name) for name in as_names(text)]
    known = frozenset(pattern for pattern in patterns if pattern is not None)
    if None in patterns:
        raise ValueError(
            "comma-separated hosts without ports, such as llm.example.org, *.example.org or "
            "[fd00::1]; `*`: any"
        )
    return known


def _host_pattern(name: str) -> str | None:
    if name == "*":
        return name
    star = "*." if name.startswith("*.") else ""
    authority = Authority.read(name.removeprefix(star))
    return None if authority is None or authority.port else star + authority.host


def as_origins(text: str) -> frozenset[Origin | str]:
    """Origins of web pages, or `*`."""
    names = [name.removesuffix("/") for name in as_names(text)]
    origins = [name if name == "*" else Origin.read(name) for name in names]
    known = frozenset(origin for origin in origins if origin is not None)
    if None in origins:
        raise ValueError("comma-separated origins, such as https://app.example.org; `*`: any")
    return known


def as_origin(text: str) -> str:
    """A URL without its trailing slash."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of a port or an address
        fits = False
    if not fits or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a URL, https://host or http://host")
    return text.rstrip("/")


def as_arguments(text: str) -> tuple[str, ...]:
    """Words, split as in a POSIX shell."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"words as for a shell ({error})") from None


def as_one_of(*choices: str) -> Callable[[str], str]:
    """A parser that accepts one of the choices, in any letter case."""

    def parse(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"one of {', '.join(choices)}")

    return parse
