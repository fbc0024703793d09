"""What a unit test may not do: start a process, or reach out of this machine."""

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
    """What breaks the rule during the block, as it happens; in this process, in any thread."""
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
    """Whether this is a Unix socket or on loopback."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


sys.addaudithook(_note)
