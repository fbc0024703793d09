"""Buffers the unread bytes of a connection, up to a limit."""

from __future__ import annotations

from typing import Protocol

_MOST_KEPT = 128 * 1024  # bytes; the last piece may go beyond it
_MOST_PIECES = 64  # each piece is an object, which can be larger than its data


class Pausable(Protocol):
    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class ReadBuffer:
    """A FIFO buffer of bytes. Above the limit, it pauses the transport until some bytes are
    used.

    Used bytes are skipped, not cut off: a caller can pipeline thousands of requests, and
    copying the rest after each of them would take quadratic time.
    """

    __slots__ = ("_at", "_data", "_more", "_source", "held_back", "size")

    def __init__(self, source: Pausable) -> None:
        self._source = source
        self._data, self._at = b"", 0  # everything before `_at` is used
        self._more: list[bytes] = []  # pieces that follow `_data`
        self.size = 0
        self.held_back = False

    def add(self, data: bytes) -> None:
        if not self.size:
            self._data, self._at = data, 0
        else:
            self._more.append(data)
            if len(self._more) >= _MOST_PIECES:
                self.look()
        self.size += len(data)
        if self.size > _MOST_KEPT and not self.held_back:
            self.held_back = True
            self._source.pause_reading()

    def look(self) -> tuple[bytes, int]:
        """Return a buffer, and the offset of the first unused byte in it."""
        if self._more:
            self._data = b"".join((memoryview(self._data)[self._at :], *self._more))
            self._at, self._more = 0, []
        return self._data, self._at

    def skip(self, count: int) -> None:
        if self._more:
            self.look()
        self._at += count
        self.size -= count
        if not self.size:
            self._data, self._at = b"", 0
        self._read_on()

    def take(self, most: int) -> bytes:
        data, at = self.look()
        if at or most < len(data):
            data = data[at : at + most]
        self.skip(len(data))
        return data

    def clear(self) -> None:
        self._data, self._at, self._more, self.size = b"", 0, [], 0
        self._read_on()

    def _read_on(self) -> None:
        if self.held_back and self.size <= _MOST_KEPT:
            self.held_back = False
            self._source.resume_reading()
