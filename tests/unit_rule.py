"""A unit test may not start a process or connect to another machine."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
_REACHES = {"socket.connect", "socket.sendto", "socket.bind"}

_seen: list[str] | None = None  # None: nobody watches


@contextmanager
def watching() -> Iterator[list[str]]:
    """Collect violations of the rule during the block; in this process, in any thread."""
    global _seen  # noqa: PLW0603  an audit hook can't be removed, so one looks here
    before, _seen = _seen, []
    try:
        yield _seen
    finally:
        _seen = before


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is None:
        return
    if event in _STARTS or (event in _REACHES and not _is_local(arguments[1])):
        _seen.append(f"{event}{arguments[:2]}")


def _is_local(address: object) -> bool:
    """Whether this address is a Unix socket or loopback."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


sys.addaudithook(_note)
