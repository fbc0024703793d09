"""Decodes a body in chunked transfer coding (RFC 9112, 7.1), strictly.

A proxy in front of this server may parse an almost valid chunk differently and see another end
of the body. The rest would then be a request that the proxy never checked (request smuggling).
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#-'*+.^-`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_LONGEST_LINE = 4096  # bytes of a size line with its extensions, or of a trailer
_MOST_TRAILERS = 32
_STEPS = 3000  # lines and pieces of data per call, which takes about a millisecond
_LINE, _DATA, _AFTER, _TRAILERS, _END = range(5)  # what comes next


class BrokenBody(Exception):
    """The body was cut off, or its chunks are malformed."""


class ChunkReader:
    """An incremental decoder. It validates trailers and drops them: no route uses them."""

    __slots__ = ("_kept", "_left", "_next", "_trailers")

    def __init__(self) -> None:
        self._kept = b""  # the beginning of an incomplete line
        self._left = self._trailers = 0
        self._next = _LINE

    @property
    def complete(self) -> bool:
        return self._next == _END

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        """Decode `data` from offset `at`. Return the body bytes, and the offset of the unread
        rest.

        One call decodes a limited number of chunks: unless `complete`, feed the rest with the
        next call. Raises `BrokenBody`.
        """
        shift = 0
        if self._kept:
            shift = len(self._kept) - at
            data, at, self._kept = self._kept + data[at:], 0, b""
        found: list[bytes] = []
        size = len(data)
        for _ in range(_STEPS):
            if at >= size or self._next == _END:
                break
            if self._next == _DATA:
                piece = data[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._next = _AFTER
                continue
            end = data.find(b"\r\n", at, at + _LONGEST_LINE + 2)
            if end < 0:
                self._keep(data[at:])
                at = size
                break
            self._take_line(data, at, end)
            at = end + 2
        return b"".join(found), at - shift

    def _keep(self, line: bytes) -> None:
        if len(line) > _LONGEST_LINE or (self._next == _AFTER and line != b"\r"):
            raise BrokenBody
        self._kept = line

    def _take_line(self, data: bytes, at: int, end: int) -> None:
        if self._next == _AFTER:
            if end != at:
                raise BrokenBody
            self._next = _LINE
        elif self._next == _LINE:
            size = _SIZE.fullmatch(data, at, end)
            if size is None:
                raise BrokenBody
            self._left = int(size[1], 16)
            self._next = _DATA if self._left else _TRAILERS
        elif end == at:
            self._next = _END
        else:
            self._trailers += 1
            if self._trailers > _MOST_TRAILERS or not _TRAILER.fullmatch(data, at, end):
                raise BrokenBody
