"""Hides this machine's paths in an engine's messages, because callers read them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Matches the start of an absolute path, but not the tail of a word or of a URL, or a closing
# tag. Engines print lists of errors, so a line break may appear as `\n`.
_PATH = re.compile(
    r"(?:file:/*|(?<![\w/<>:])/+|(?<=:)/(?!/)|(?<=\\[nrt])/+)[\w.@+~%-][^\s'\"`,;)\]}>]*"
)
# SGLang ends a validation error with the location in its own code. The pattern starts only
# where a run of white space starts: a caller can send a long run, and rescanning it from each
# position would take quadratic time.
_FRAME = re.compile(r"""(?<!\s)\s*+File \\?"[^"\n]{0,500}", line [0-9]+, in [\w<>.]+""")
_ROUTE = re.compile(r"/(?:v1(?:/[\w/]*)?|generate)[.:]?")


def hide_paths(text: str, local_paths: Iterable[str] = ()) -> str:
    """Return `text` with `<path>` in place of everything that looks like a local path.

    `local_paths` are directories in use on this machine. They are hidden wherever they appear.
    """
    text = _FRAME.sub("", text)
    for known in sorted(local_paths, key=len, reverse=True):
        text = text.replace(known, "<path>")
    return _PATH.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    return match[0] if _ROUTE.fullmatch(match[0]) else "<path>"
