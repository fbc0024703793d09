"""How a failure is told: OpenAI's envelope, as a body or as an event of a stream."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import orjson

from router.errors import RouterError

_LONGEST_MESSAGE = 2000  # SGLang repeats the input in its validation errors

# What starts like an absolute path: not the tail of a word or a URL, nor a closing tag.
# Engines print lists of errors, so a line break may be spelt `\n`.
_PATH = re.compile(
    r"(?:file:/*|(?<![\w/<>:])/+|(?<=:)/(?!/)|(?<=\\[nrt])/+)[\w.@+~%-][^\s'\"`,;)\]}>]*"
)
# SGLang ends a validation error with where in its own code the request was being read.
_FRAME = re.compile(r"""\s*File \\?"[^"\n]{0,500}", line [0-9]+, in [\w<>.]+""")
_BLANK_LINES = (b"\n\n", b"\r\n\r\n")
_ROUTE = re.compile(r"/(?:v1(?:/[\w/]*)?|generate)[.:]?")


def envelope(error: RouterError) -> bytes:
    """`{"error": {message, type, param, code}}`, with `retry_after` where waiting helps."""
    content: dict[str, object] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.retry_after is not None:
        content["retry_after"] = _whole_seconds(error.retry_after)
    return orjson.dumps({"error": content})


def envelope_headers(error: RouterError) -> dict[str, str]:
    """`Content-Type`, and `Retry-After` in whole seconds where waiting helps."""
    headers = {"Content-Type": "application/json"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(_whole_seconds(error.retry_after))
    return headers


def _whole_seconds(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def sse_error(error: RouterError) -> bytes:
    """The last events of a stream that failed: the envelope, then `[DONE]`."""
    return b"data: " + envelope(error) + b"\n\ndata: [DONE]\n\n"


def split_events(buffer: bytes) -> tuple[bytes, bytes]:
    """Cut after the last blank line: whole events, and the start of the next one.

    The chunks of a stream end anywhere, also inside a character.
    """
    ends = (buffer.rfind(blank) + len(blank) for blank in _BLANK_LINES if blank in buffer)
    end = max(ends, default=0)
    return buffer[:end], buffer[end:]


def engine_error(
    status: int, body: bytes, local_paths: Iterable[str] = ()
) -> tuple[int, bytes]:
    """An engine's own error in the envelope: its status and message, no local path.

    `local_paths` are directories known to be in use (a snapshot's), hidden wherever they
    stand; whatever else looks like an absolute path is hidden too.
    """
    found = _find(body)
    message = _text(found.get("message")) or f"The engine answered with status {status}."
    code = found.get("code")
    content = {
        "message": hide_paths(message[:_LONGEST_MESSAGE], local_paths),
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": _text(found.get("param")),
        "code": code if isinstance(code, str) else None,
    }
    return status, orjson.dumps({"error": content})


def _find(body: bytes) -> dict[str, object]:
    """The engine's error, whichever of its forms it came in."""
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
    return orjson.dumps(value).decode()


def hide_paths(text: str, local_paths: Iterable[str] = ()) -> str:
    """`text` with `<path>` for everything that looks like a path of this machine."""
    text = _FRAME.sub("", text)
    for known in sorted(local_paths, key=len, reverse=True):
        text = text.replace(known, "<path>")
    return _PATH.sub(_hide, text)


def _hide(match: re.Match[str]) -> str:
    return match[0] if _ROUTE.fullmatch(match[0]) else "<path>"
