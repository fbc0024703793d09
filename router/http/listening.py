"""Explains why the server can't listen."""

from __future__ import annotations

import errno
import os

from router.config.settings import Settings


def cannot_listen(settings: Settings, error: OSError) -> str:
    """Return a message for the log. asyncio's own message repeats the address."""
    known = error.errno is not None and error.errno > 0
    reason = os.strerror(error.errno) if known and error.errno else error.strerror or error
    ports = f":{settings.port}"
    if settings.port_health is not None:
        ports += f" or :{settings.port_health}"
    busy = ": does another worker run? Set PORT" if error.errno == errno.EADDRINUSE else ""
    return f"can't listen on {settings.host}{ports}: {reason}{busy}"
