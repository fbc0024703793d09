"""Measures an answer while it is sent, and finds its token counts at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from router.requests.usage import (
    NATIVE,
    REPEATS_ITS_REQUEST,
    TAIL,
    FirstUsage,
    StreamedResults,
    Tokens,
    TokenSums,
    read_events,
    read_tokens,
)


class Events(Protocol):
    """A stream of events. `count`: events sent so far; `tail`: the last of them. `each`, if
    set, is called with the next events."""

    each: Callable[[bytes], None] | None

    @property
    def count(self) -> int: ...

    @property
    def tail(self) -> bytes: ...


class AnswerCount:
    """Counts one answer. If its last bytes contain the token counts, it parses nothing until
    the end.

    `data`: the first bytes of the answer. `events`: the stream that sends its events.
    """

    __slots__ = (
        "_before",
        "_bytes",
        "_events",
        "_head",
        "_last",
        "_now",
        "_passed",
        "_results",
        "_stream",
        "_told",
    )

    def __init__(self, route: str, data: bytes, events: Events | None, *, stream: bool) -> None:
        self._stream, self._passed = stream, events
        self._bytes = self._events = 0
        self._results: StreamedResults | None = None  # for a stream of several results
        # Used if the token counts are not at the end of the answer.
        self._told: TokenSums | FirstUsage | None = None
        if events is not None and route == NATIVE:
            self._results = StreamedResults()
            events.each = self._results.add
        if not stream:
            if data[:1] == b"[":
                self._told = TokenSums()
            elif route == REPEATS_ITS_REQUEST:
                self._told = FirstUsage()
        # The token counts are in the beginning or the last pieces.
        self._head = data if len(data) <= TAIL else data[:TAIL]
        self._before = self._last = self._now = b""
        self.saw(data)

    def saw(self, data: bytes) -> None:
        """Note more bytes of the answer."""
        self._before, self._last = self._last, self._now
        self._now = data if len(data) <= TAIL else data[-TAIL:]
        self._bytes += len(data)
        if self._stream:
            self._events += data.count(b"\n\n")
        elif self._told is not None:
            self._told.add(data)

    def tokens(self) -> Tokens:
        """The token counts of the engine, after the answer has ended."""
        if self._told is not None:
            return self._told.tokens
        if self._results is not None and (summed := self._results.tokens) != Tokens():
            return summed
        read = read_events if self._stream else read_tokens
        if self._passed is not None and self._passed.count:
            tail = read(self._passed.tail)
        else:
            tail = read(self._before + self._last + self._now)
        if tail.prompt is None:  # Anthropic's streams have it at the beginning
            return Tokens(read(self._head).prompt, tail.completion)
        return tail

    @property
    def guess(self) -> int:
        """Estimated completion tokens: one per event of a stream, else one per four bytes."""
        if not self._stream:
            return self._bytes // 4
        return (self._passed.count if self._passed is not None else 0) or self._events
