"""A port of one engine, and the key that every request to it needs.

Any user of the machine can reach a port. The router therefore binds the port itself, so that
no other process can take it before the engine does. The engine inherits the socket and a pipe
with a random key: others could read a command line or an environment. `entry.py` is the
engine's side.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from router.secrets import Secret


@dataclass(frozen=True, slots=True)
class EnginePort:
    """The engine inherits `files`: the bound socket, and the pipe with the key."""

    number: int
    key: Secret
    files: tuple[int, int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.number}"

    @property
    def signed(self) -> dict[str, str]:
        """The header with the key."""
        return {"Authorization": f"Bearer {self.key.reveal()}"}


@contextmanager
def bind_port() -> Iterator[EnginePort]:
    """Bind a free port. It refuses connections until the engine listens.

    The router's copies of the files are closed when the block ends. Raises `OSError`.
    """
    with ExitStack() as stack:
        # Without SO_REUSEADDR, so that no other process can bind the same port.
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        key = secrets.token_urlsafe(32)
        readable, writable = os.pipe()
        stack.callback(os.close, readable)
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(key.encode())  # fits into the pipe's buffer
        yield EnginePort(listener.getsockname()[1], Secret(key), (listener.fileno(), readable))
