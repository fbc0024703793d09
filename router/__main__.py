"""The entry point of `python -m router` and of the console script `model-router`."""

import sys

from router.concealment import hide_environment
from router.pid1 import under_init

_SERVING = frozenset({"serve", "runpod"})  # and no command at all also serves


def run() -> int:
    """Run the command line, under a small init if this is process 1. Return its exit status."""
    if not sys.argv[1:] or sys.argv[1] in _SERVING:
        hide_environment()
    # Imported late, because `hide_environment` re-executes this process.
    from router.cli import main  # noqa: PLC0415

    return under_init(main)


if __name__ == "__main__":
    sys.exit(run())
