"""Reads an engine's output and passes it on line by line."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator

MAX_LINE = 8192  # bytes; the rest of a longer line is dropped

# Bytes. A line can be as short as one byte and costs about 20 µs. The event loop serves
# requests between two chunks.
_CHUNK = 4096
_MAX_DRAIN = 64  # chunks; a process that is still alive may print faster than they are read
_LINE_END = re.compile(rb"[\r\n]")  # progress bars end their lines with \r

_log = logging.getLogger(__name__)


class LineSplitter:
    """Splits a stream of bytes into lines of bounded length. Drops empty lines."""

    def __init__(self) -> None:
        self._open = b""
        self._cut = False  # the current line was too long; drop the rest of it

    def feed(self, data: bytes) -> Iterator[str]:
        *ended, rest = _LINE_END.split(data)
        for piece in ended:
            yield from self._extend(piece)
            yield from self.flush()
            self._cut = False
        yield from self._extend(rest)

    def flush(self) -> Iterator[str]:
        """Return the unfinished line, if there is one."""
        line, self._open = self._open, b""
        if line:
            yield line.decode("utf-8", "replace")

    def _extend(self, piece: bytes) -> Iterator[str]:
        if self._cut:
            return
        self._open += piece
        if len(self._open) > MAX_LINE:
            line, self._open, self._cut = self._open[:MAX_LINE], b"", True
            yield line.decode("utf-8", "replace") + " [cut]"


class OutputReader:
    """Reads a pipe until its other end is closed, even if `on_line` fails.

    If nothing reads its pipe, an engine blocks as soon as the pipe is full.
    """

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        """Owns `fd` from here on. Needs a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_line = on_line
        self._lines = LineSplitter()
        self._open = True
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def drain(self) -> None:
        """Read what is in the pipe now."""
        for _ in range(_MAX_DRAIN):
            if not (self._open and self._read()):
                return

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._pass_on(self._lines.flush())

    def _read(self) -> bool:
        """Read one chunk. False if there was none."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._pass_on(self._lines.feed(data))
        return True

    def _pass_on(self, lines: Iterator[str]) -> None:
        for line in lines:
            try:
                self._on_line(line)
            except Exception:  # noqa: BLE001 - the engine would block if reading stopped
                _log.exception("a line of an engine's output could not be passed on")
