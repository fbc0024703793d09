"""Renders event streams: bytes in, whole events out. No I/O.

An engine's chunks end anywhere, even inside a character. Clients fail on half an event, so only
whole events are passed on, and an error or a comment never lands inside one.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from router.errors import EngineFailed
from router.requests.dialects import Dialect, Problem
from router.requests.usage import LONGEST_EVENT

_BLANK_LINES = (b"\n\n", b"\r\n\r\n")
_LONGEST_BLANK = 4  # bytes
_ERROR = b'"error"'
_NO_ERROR = (b'"error":null', b'"error": null')  # in long events of /v1/responses
_LONGEST_EVENT = 16 << 20  # bytes; an incomplete event is buffered
_LONGEST_ERROR = 1 << 20  # bytes of an event that is parsed while nobody else is served
_MAX_NUMBER = 1 << 53  # the largest number that every JSON reader can represent


class EventStream:
    """Passes on an engine's events, and reports failures in `dialect`.

    `hide_paths` removes this machine's paths from the engine's error messages. `heard_error` is
    called when there is such an error. `count`: the number of events passed on.
    """

    __slots__ = (
        "_before",
        "_dialect",
        "_heard_error",
        "_hide_paths",
        "_last",
        "_partial",
        "count",
        "each",
    )

    def __init__(
        self,
        dialect: Dialect,
        hide_paths: Callable[[str], str],
        heard_error: Callable[[], None] = lambda: None,
    ) -> None:
        self._dialect, self._hide_paths, self._heard_error = dialect, hide_paths, heard_error
        self._partial = bytearray()  # the beginning of an event
        self._before = self._last = b""  # the last events passed on, in two parts
        self.count = 0
        self.each: Callable[[bytes], None] | None = None  # called with the events

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes; b"" if there are none.

        Raises `EngineFailed` for an event that is too long.
        """
        if not self._partial and chunk.endswith(_BLANK_LINES):
            whole = chunk
        else:
            whole = self._cut(chunk)
            if not whole:
                return b""
        # The first line break is found quickly, and most chunks are one event of one line.
        one = whole.find(b"\n") >= len(whole) - 2
        self.count += 1 if one else whole.count(b"\n\n") + whole.count(b"\n\r\n")
        if self.each is not None:
            self.each(whole)
        if _ERROR in whole:
            whole = self._without_paths(whole)
        self._before, self._last = self._last, whole
        return whole

    @property
    def tail(self) -> bytes:
        """The last events passed on, which contain the token counts."""
        return self._before[-LONGEST_EVENT:] + self._last[-LONGEST_EVENT:]

    def end(self) -> bytes:
        """Return the rest when the engine's answer is complete."""
        rest, self._partial = bytes(self._partial), bytearray()
        if rest:
            self._before, self._last = self._last, rest
        return self._without_paths(rest) if _ERROR in rest else rest

    def fail(self, problem: Problem) -> bytes:
        """Return the final events of a failed stream. An incomplete event is dropped."""
        return self._dialect.events(problem, self._next_sequence_number())

    def _cut(self, chunk: bytes) -> bytes:
        # Search only the new part: an event may arrive in thousands of chunks.
        start = max(0, len(self._partial) - _LONGEST_BLANK + 1)
        self._partial += chunk
        if len(self._partial) > _LONGEST_EVENT:
            raise _too_long()
        found = ((self._partial.rfind(blank, start), len(blank)) for blank in _BLANK_LINES)
        end = max((at + size for at, size in found if at >= 0), default=0)
        whole = bytes(self._partial[:end])
        del self._partial[:end]
        return whole

    def _without_paths(self, events: bytes) -> bytes:
        lines = events.split(b"\n")
        return b"\n".join(self._clean(line) if _tells_error(line) else line for line in lines)

    def _clean(self, line: bytes) -> bytes:
        """Remove paths from an engine's error, if this line contains one."""
        if len(line) > _LONGEST_ERROR:
            raise _too_long()
        field, colon, data = line.partition(b":")
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            return line
        if field != b"data" or not isinstance(content, dict) or not self._hide_in(content):
            return line
        self._heard_error()
        return field + colon + b" " + orjson.dumps(content)

    def _hide_in(self, content: dict[str, object]) -> bool:
        """Whether `content` is an error: {"error": ...}, {"response": {"error": ...}} or
        SGLang's flat {"object": "error", "message": ...}. Removes paths from its message."""
        found = False
        if content.get("object") == "error" and isinstance(content.get("message"), str):
            content["message"] = self._hide_paths(str(content["message"]))
            found = True
        error = content.get("error")
        if isinstance(error, str):
            content["error"] = self._hide_paths(error)
            found = True
        elif isinstance(error, dict) and isinstance(error.get("message"), str):
            error["message"] = self._hide_paths(error["message"])
            found = True
        response = content.get("response")
        return (isinstance(response, dict) and self._hide_in(response)) or found

    def _next_sequence_number(self) -> int:
        """One more than the last event's `sequence_number`; 0 if it has none."""
        for line in reversed(self._last.split(b"\n")):
            if line.startswith(b"data:"):
                try:
                    content = orjson.loads(line.removeprefix(b"data:"))
                except orjson.JSONDecodeError:
                    return 0
                number = content.get("sequence_number") if isinstance(content, dict) else None
                return (
                    number + 1 if isinstance(number, int) and -1 < number < _MAX_NUMBER else 0
                )
        return 0


def _tells_error(line: bytes) -> bool:
    return line.count(_ERROR) > sum(map(line.count, _NO_ERROR))


def _too_long() -> EngineFailed:
    return EngineFailed("The engine sent an event that is too long to pass on. Ask for less.")


def comment(text: str) -> bytes:
    """An SSE comment. It keeps the connection alive, and clients ignore it."""
    return f": {text}\n\n".encode()


def split_events(buffer: bytes) -> tuple[bytes, bytes]:
    """Split after the last blank line: whole events, and the beginning of the next one."""
    ends = (buffer.rfind(blank) + len(blank) for blank in _BLANK_LINES if blank in buffer)
    end = max(ends, default=0)
    return buffer[:end], buffer[end:]
