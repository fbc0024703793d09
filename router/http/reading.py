"""Finds out whether the other end of a connection reads what it is sent."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios

# Bytes a second. Less is no reading: a byte now and then would hold an engine for hours.
_SLOWEST = 256


class Reading:
    """How far the other end has come, as seen from time to time.

    It has to take what was under way within `patience` seconds, or that long at the slowest
    speed; then the next stretch begins.
    """

    __slots__ = ("_least", "_owed", "_patience", "_read", "_since")

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._least = patience, int(_SLOWEST * patience)
        self._since, self._read, self._owed = now, 0, 0

    def has_stalled(self, now: float, sent: int, unread: int) -> bool:
        """`sent`: bytes of the answer in progress so far, of which `unread` are under way."""
        read = sent - unread
        # It goes back to 0 where the next answer begins.
        if read - self._read >= self._owed or read < self._read:
            self._since, self._read, self._owed = now, read, min(unread, self._least)
        return now - self._since >= self._patience


def unread(transport: asyncio.Transport) -> int:
    """Bytes that were sent and have not arrived at the other end, in this process and in the
    kernel. The latter alone can be megabytes."""
    size = transport.get_write_buffer_size()
    descriptor = transport.get_extra_info("socket").fileno()
    try:
        queue = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4)
    except OSError:  # a kernel that does not tell
        return size
    return size + int(struct.unpack("i", queue)[0])


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the other end has closed, behind what it sent and nobody has read yet."""
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poller.poll(0))


def hang_up(transport: asyncio.Transport) -> None:
    """End the connection at once. Without the option the kernel would keep what is under way,
    for minutes."""
    at_once = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()
