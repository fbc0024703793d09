"""The limit on open files."""

from __future__ import annotations

import resource

MOST_CONNECTIONS = 4096  # from callers; the Hub and the engines need descriptors, too
NEEDED = 4 * MOST_CONNECTIONS


def raise_open_files() -> int:
    """Raise the soft limit to `NEEDED`, or to the hard limit. Return the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < NEEDED:
        soft = min(hard, NEEDED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
