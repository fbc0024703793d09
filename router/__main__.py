"""`python -m router` and the console script `model-router`: both are `run`."""

import sys

from router.cli import main
from router.pid1 import under_init


def run() -> int:
    """Run the command line, below a small init where this is process 1; give its status."""
    return under_init(main)


if __name__ == "__main__":
    sys.exit(run())
