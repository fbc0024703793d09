"""Reads an engine's errors in any form, and removes local paths from them."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from router.requests.dialects import Problem
from router.requests.interfaces import UpstreamResponse
from router.requests.validation import told_by_field

# bytes to read. An error can repeat any input of a caller.
_LONGEST = 1 << 18
_LONGEST_MESSAGE = 2000  # SGLang repeats the input in its validation errors
_RETRY_LATER = (429, 503)
_PATIENCE = 1.0  # seconds; the default if the engine sends no `Retry-After`


async def hear_engine_error(answer: UpstreamResponse, hide: Callable[[str], str]) -> Problem:
    """Read the body of an engine's error answer. Raises `UpstreamLost`."""
    content = bytearray()
    while len(content) < _LONGEST and (data := await answer.read()):
        content += data
    return read_engine_error(
        answer.status,
        bytes(content),
        retry_after=answer.headers.get("retry-after"),
        hide=hide,
    )


def read_engine_error(
    status: int, body: bytes, *, retry_after: str | None, hide: Callable[[str], str]
) -> Problem:
    """Convert an engine's error, with its status and message but without local paths.

    `retry_after` is the engine's header. A 429 or 503 without one gets a default, so that each
    answer that asks the caller to wait says how long.
    """
    found = _find(body)
    message = _text(found.get("message")) or f"The engine answered with status {status}."
    param, code = _text(found.get("param")), found.get("code")
    if (told := told_by_field(message[:_LONGEST_MESSAGE])) is not None:
        message, param = told.message, param or told.field
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
    """Find the error in any of the forms that SGLang's routes use."""
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
    except orjson.JSONEncodeError:  # a validation error around a deeply nested body
        return None
