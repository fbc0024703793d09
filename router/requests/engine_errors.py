"""An engine's own errors, whatever their form, and what they may not show: local paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import orjson

from router.requests.dialects import Problem

_LONGEST_MESSAGE = 2000  # SGLang repeats the input in its validation errors
_RETRY_LATER = (429, 503)
_PATIENCE = 1.0  # seconds, where the engine does not say how long to wait

# What starts like an absolute path, but not the tail of a word or of a URL, nor a closing tag.
# Engines print lists of errors, so a line break may be written as `\n`.
_PATH = re.compile(
    r"(?:file:/*|(?<![\w/<>:])/+|(?<=:)/(?!/)|(?<=\\[nrt])/+)[\w.@+~%-][^\s'\"`,;)\]}>]*"
)
# SGLang ends a validation error with the place in its own code that read the request.
# It is looked for only where a run of white space begins: a run can be a caller's, and long.
_FRAME = re.compile(r"""(?<!\s)\s*+File \\?"[^"\n]{0,500}", line [0-9]+, in [\w<>.]+""")
_ROUTE = re.compile(r"/(?:v1(?:/[\w/]*)?|generate)[.:]?")


def read_engine_error(
    status: int, body: bytes, *, retry_after: str | None, hide: Callable[[str], str]
) -> Problem:
    """An engine's own error: its status and message, without local paths.

    `retry_after` is the engine's own header. A 429 or 503 without one gets a default, so that
    every answer that asks for patience says how much.
    """
    found = _find(body)
    message = _text(found.get("message")) or f"The engine answered with status {status}."
    param, code = _text(found.get("param")), found.get("code")
    return Problem(
        status=status,
        message=hide(message[:_LONGEST_MESSAGE]),
        type="invalid_request_error" if status < 500 else "server_error",
        param=None if param is None else hide(param[:_LONGEST_MESSAGE]),
        code=hide(code[:_LONGEST_MESSAGE]) if isinstance(code, str) else None,
        retry_after=_seconds(retry_after) if status in _RETRY_LATER else None,
    )


def _seconds(retry_after: str | None) -> float:
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:6])
    return _PATIENCE


def _find(body: bytes) -> dict[str, object]:
    """The error inside of any of the forms that SGLang's routes use."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body.decode(errors="replace")}
    if not isinstance(content, dict):
        return {"message": content}
    inner = content.get("error", content.get("detail"))
    if isinstance(inner, dict):
        return inner
    return content if inner is None else {"message": inner}


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a validation error around a body of many levels
        return None


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
