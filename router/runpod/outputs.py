"""What a job yields to the SDK for a response. No I/O.

A job that fails before it yielded anything fails as a whole: `{"error": "<the error's JSON>"}`.
The error is a string, because RunPod shows its caller Python's repr of an object. After the
first yield, an error can only be an event of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from router.requests.event_stream import split_events

# A post of a stream may have `limits.MOST_STREAMED` as JSON, in which a quote takes two bytes
# and nothing of an event takes more.
MOST = 480_000  # bytes
_LONGEST_CHARACTER = 4  # bytes

Output = str | dict[str, object] | list[object]


class AnswerObject(dict[str, object]):
    """An answer. The SDK formats all outputs for its log, twice, also where nothing is logged:
    for a large answer that would hold up the loop as long as posting it."""

    def __repr__(self) -> str:
        return "<an answer>"


class AnswerArray(list[object]):
    """The same for an answer that is a list."""

    def __repr__(self) -> str:
        return "<an answer>"


def failed(error: bytes) -> Output:
    """A job that fails as a whole."""
    return {"error": error.decode(errors="replace")}


def answered(content: bytes) -> Output:
    """The whole answer to a job that asked for no stream."""
    try:
        answer: Output = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace")
    if isinstance(answer, dict):
        return AnswerObject(answer)
    return AnswerArray(answer) if isinstance(answer, list) else answer


def streamed(events: bytes) -> Iterator[str]:
    """Whole events, in chunks that RunPod takes."""
    start = 0
    while start < len(events):
        end = _cut(events, start)
        yield events[start:end].decode(errors="replace")
        start = end


def _cut(events: bytes, start: int) -> int:
    """Where a chunk ends: between events, or else between characters."""
    most = start + MOST
    if len(events) <= most:
        return len(events)
    whole, _ = split_events(events[start:most])
    if whole:
        return start + len(whole)
    for end in range(most, most - _LONGEST_CHARACTER, -1):
        if events[end] & 0b1100_0000 != 0b1000_0000:  # not inside a character
            return end
    return most  # this is no text: any place is as good
