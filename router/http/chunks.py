"""The chunks that a body comes in (RFC 9112, 7.1), to the letter.

A server before this one may read what is nearly a chunk in another way, and then see another
end of the body: the rest would be a request that it never checked.
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#-'*+.^-`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_LONGEST_LINE = 4096  # bytes: a size and what follows it, or a trailer
_MOST_TRAILERS = 32
_STEPS = 3000  # lines and data in one call, which holds up the loop: about a millisecond
_LINE, _DATA, _AFTER, _TRAILERS, _END = range(5)  # what comes next


class BrokenBody(Exception):
    """It broke off, or its chunks are malformed."""


class ChunkReader:
    """Trailers are checked and dropped: nothing here asks for any."""

    __slots__ = ("_kept", "_left", "_next", "_trailers")

    def __init__(self) -> None:
        self._kept = b""  # the beginning of a line
        self._left = self._trailers = 0
        self._next = _LINE

    @property
    def complete(self) -> bool:
        return self._next == _END

    def feed(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        """Return what is data of the body, from `at` on, and where what follows it begins.
        Raises `BrokenBody`.

        Of very many small chunks, only the first are read: where it is not `complete`, the
        rest is to be fed next.
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
