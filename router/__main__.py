"""`python -m router`: the same as the console script `model-router`."""

import sys

from router.cli import main
from router.pid1 import under_init

if __name__ == "__main__":
    sys.exit(under_init(main))
