"""A port of one engine, and the key without which it answers nobody.

Any user of the machine can reach a port. The router therefore binds it, so that no other
process can take it before the engine does, and hands the socket down together with a random
key, over a pipe: a command line and an environment can be read. `entry.py` is the other side.
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
class Door:
    """`files` are inherited by the engine: the bound socket, and the pipe with the key."""

    port: int
    key: Secret
    files: tuple[int, int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def signed(self) -> dict[str, str]:
        """The header that it asks for."""
        return {"Authorization": f"Bearer {self.key.reveal()}"}


@contextmanager
def new_door() -> Iterator[Door]:
    """A port that is bound but not served yet: until the engine listens, it refuses.

    The router's own copies are closed when the block ends. Raises `OSError`.
    """
    with ExitStack() as stack:
        # Without SO_REUSEADDR, so that no one else can bind the port beside it.
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        key = secrets.token_urlsafe(32)
        readable, writable = os.pipe()
        stack.callback(os.close, readable)
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(key.encode())  # fits into the pipe's buffer
        yield Door(listener.getsockname()[1], Secret(key), (listener.fileno(), readable))
