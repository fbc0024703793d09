"""`demo`: shows the router's main job as a transcript."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def demo(*, keep: bool) -> int:
    if not Path(__file__).parents[2].joinpath("examples", "demo").is_dir():
        print("The demo needs a checkout of the repository.", file=sys.stderr)  # noqa: T201
        return 2
    status: int = importlib.import_module("examples.demo").main(keep=keep)
    return status
