"""`python -m router` and the console script `model-router`: both are `run`."""

import sys

from router.concealment import hide_environment
from router.pid1 import under_init

_SERVING = frozenset({"serve", "runpod"})  # and no command at all


def run() -> int:
    """Run the command line, below a small init where this is process 1; give its status."""
    if not sys.argv[1:] or sys.argv[1] in _SERVING:
        hide_environment()
    # Not before: hiding starts this process anew.
    from router.cli import main  # noqa: PLC0415

    return under_init(main)


if __name__ == "__main__":
    sys.exit(run())
