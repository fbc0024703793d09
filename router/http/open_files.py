"""How many files the worker may have open."""

from __future__ import annotations

import resource

MOST_CONNECTIONS = 4096  # of callers; as many files are left to the Hub and the engines
NEEDED = 4 * MOST_CONNECTIONS


def raise_open_files() -> int:
    """How many files this process may have open, raised as far as it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < NEEDED:
        soft = min(hard, NEEDED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
