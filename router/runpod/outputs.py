"""Turns responses into the outputs that a job yields to the SDK. No I/O.

A job that fails before its first output fails as a whole: `{"error": "<the error's JSON>"}`.
The error is a string, because RunPod would show Python's repr of an object to the caller. After
the first output, an error can only be an event of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from router.requests.event_stream import split_events

# A post of a stream may have `limits.MOST_STREAMED` bytes of JSON. There, each byte of an event
# takes at most two bytes, as a quote does.
MOST = 480_000  # bytes
_LONGEST_CHARACTER = 4  # bytes

Output = str | dict[str, object] | list[object]


class AnswerObject(dict[str, object]):
    """An answer with a short `repr`.

    The SDK formats all outputs for its log, twice, even if it logs nothing. For a large answer,
    that would block the event loop as long as posting it.
    """

    def __repr__(self) -> str:
        return "<an answer>"


class AnswerArray(list[object]):
    """Like `AnswerObject`, for a list."""

    def __repr__(self) -> str:
        return "<an answer>"


def failed(error: bytes) -> Output:
    """The output of a job that fails as a whole."""
    return {"error": error.decode(errors="replace")}


def answered(content: bytes) -> Output:
    """The output with the whole answer, for a job without a stream."""
    try:
        answer: Output = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace")
    if isinstance(answer, dict):
        return AnswerObject(answer)
    return AnswerArray(answer) if isinstance(answer, list) else answer


def streamed(events: bytes) -> Iterator[str]:
    """The events in chunks that RunPod accepts."""
    start = 0
    while start < len(events):
        end = _cut(events, start)
        yield events[start:end].decode(errors="replace")
        start = end


def _cut(events: bytes, start: int) -> int:
    """The end of a chunk: between events if possible, else between characters."""
    most = start + MOST
    if len(events) <= most:
        return len(events)
    whole, _ = split_events(events[start:most])
    if whole:
        return start + len(whole)
    for end in range(most, most - _LONGEST_CHARACTER, -1):
        if events[end] & 0b1100_0000 != 0b1000_0000:  # not inside a character
            return end
    return most  # not valid UTF-8: cut anywhere
