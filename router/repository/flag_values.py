"""Reads an operator's flags as SGLang's command line does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

_LEAST = 4  # characters; `--tp` is the shortest flag in common use


def value_of(flags: Sequence[str], *names: str) -> str | None:
    """The value of the last flag with one of these names; None: it is not set.

    As in SGLang's argparse, underscores count as dashes, and a prefix stands for the name.
    """
    found = None
    for flag, following in pairwise((*flags, "")):
        given, equals, inline = flag.partition("=")
        if any(_means(given, name) for name in names):
            found = inline if equals else following
    return found


def is_set(flags: Sequence[str], *names: str) -> bool:
    """Whether one of these switches is set."""
    given = (flag.partition("=")[0] for flag in flags)
    return any(_means(one, name) for one in given for name in names)


def number_of(flags: Sequence[str], *names: str, most: int = 1 << 31) -> int | None:
    """The same as an integer from 1 to `most`; None also if it is not one."""
    text = value_of(flags, *names) or ""
    # `isdecimal` alone would accept digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    return int(text) if 0 < int(text) <= most else None


def spelled(flags: Sequence[str]) -> Iterator[str]:
    """The names of the flags, as written, with dashes."""
    names = (flag.partition("=")[0].replace("_", "-") for flag in flags)
    return (name for name in names if name.startswith("--") and len(name) > len("--"))


def _means(given: str, name: str) -> bool:
    written = given.replace("_", "-")
    return len(written) >= _LEAST and written.startswith("--") and name.startswith(written)
