"""Hides this machine's paths from what an engine says: callers read it."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What starts like an absolute path, but not the tail of a word or of a URL, nor a closing tag.
# Engines print lists of errors, so a line break may be written as `\n`.
_PATH = re.compile(
    r"(?:file:/*|(?<![\w/<>:])/+|(?<=:)/(?!/)|(?<=\\[nrt])/+)[\w.@+~%-][^\s'\"`,;)\]}>]*"
)
# SGLang ends a validation error with the place in its own code that read the request.
# It is looked for only where a run of white space begins: a run can be a caller's, and long.
_FRAME = re.compile(r"""(?<!\s)\s*+File \\?"[^"\n]{0,500}", line [0-9]+, in [\w<>.]+""")
_ROUTE = re.compile(r"/(?:v1(?:/[\w/]*)?|generate)[.:]?")


def hide_paths(text: str, local_paths: Iterable[str] = ()) -> str:
    """Return `text` with `<path>` in place of everything that looks like a local path.

    `local_paths` are directories known to be in use, hidden wherever they stand.
    """
    text = _FRAME.sub("", text)
    for known in sorted(local_paths, key=len, reverse=True):
        text = text.replace(known, "<path>")
    return _PATH.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    return match[0] if _ROUTE.fullmatch(match[0]) else "<path>"
