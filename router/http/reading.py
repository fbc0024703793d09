"""Detects a caller that does not read its answer."""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios

# Bytes per second. A slower caller counts as stalled: otherwise it could hold an engine for
# hours by reading a byte now and then.
_SLOWEST = 256


class Reading:
    """Tracks how much of an answer the other end has read.

    Within `patience` seconds it must read the bytes that were unread at the start of the
    interval, or as many as the slowest allowed speed gives. Then the next interval starts.
    """

    __slots__ = ("_least", "_owed", "_patience", "_read", "_since")

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._least = patience, int(_SLOWEST * patience)
        self._since, self._read, self._owed = now, 0, 0

    def has_stalled(self, now: float, sent: int, unread: int) -> bool:
        """`sent` counts the bytes of the current answer; `unread` of them have not arrived."""
        read = sent - unread
        # The count restarts at 0 with the next answer.
        if read - self._read >= self._owed or read < self._read:
            self._since, self._read, self._owed = now, read, min(unread, self._least)
        return now - self._since >= self._patience


def unread(transport: asyncio.Transport) -> int:
    """Bytes in the buffers of this process and the kernel that the other end has not received.
    The kernel alone can hold megabytes."""
    size = transport.get_write_buffer_size()
    descriptor = transport.get_extra_info("socket").fileno()
    try:
        queue = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4)
    except OSError:  # this kernel does not report it
        return size
    return size + int(struct.unpack("i", queue)[0])


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the other end has closed the connection, even if its data is still unread."""
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poller.poll(0))


def hang_up(transport: asyncio.Transport) -> None:
    """Reset the connection. Without SO_LINGER, the kernel keeps unsent data for minutes."""
    at_once = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()
