"""What an engine prints: taken off its pipe at once, handed on line by line."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator

LINE_MAX = 8192  # bytes of a line that are kept
TAIL = 50  # lines remembered: a traceback and what led to it

_CHUNK = 65_536
_DRAIN_MAX = 64  # chunks; a survivor may print faster than they are read
_LINE_END = re.compile(rb"[\r\n]")  # progress bars end their lines with \r

_log = logging.getLogger(__name__)


class Lines:
    """Cuts a stream of bytes into lines of bounded length; blank ones are dropped."""

    def __init__(self) -> None:
        self._open = b""
        self._cut = False  # the rest of a line that was too long is still to come

    def feed(self, data: bytes) -> Iterator[str]:
        *ended, rest = _LINE_END.split(data)
        for piece in ended:
            yield from self._extend(piece)
            yield from self.flush()
            self._cut = False
        yield from self._extend(rest)

    def flush(self) -> Iterator[str]:
        """Give the line that has not ended, if there is one."""
        line, self._open = self._open, b""
        if line:
            yield line.decode("utf-8", "replace")

    def _extend(self, piece: bytes) -> Iterator[str]:
        if self._cut:
            return
        self._open += piece
        if len(self._open) > LINE_MAX:
            line, self._open, self._cut = self._open[:LINE_MAX], b"", True
            yield line.decode("utf-8", "replace") + " [cut]"


class LogPump:
    """Reads a pipe for as long as anybody holds its other end, whatever `on_line` does."""

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        """Takes over `fd`. Needs the running loop."""
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._on_line = on_line
        self._lines = Lines()
        self._open = True
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._pump)

    def drain(self) -> None:
        """Take what is in the pipe just now."""
        for _ in range(_DRAIN_MAX):
            if not (self._open and self._pump()):
                return

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._emit(self._lines.flush())

    def _pump(self) -> bool:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._emit(self._lines.feed(data))
        return True

    def _emit(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.tail.append(line)
            try:
                self._on_line(line)
            except Exception:  # noqa: BLE001 - the engine would block if nobody read on
                _log.exception("a line of an engine's log could not be handed on")
