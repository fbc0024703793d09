"""`python -m tests.bench.path [--before CHECKOUT] [--rounds N]`: the path from the HTTP server
to the engine and back, without the server.

One process per variant drives its service in turn, with 32 requests at a time, and reads its
own CPU time. It varies less than the results of `make bench`. Variants: another checkout; this
one; this one with the log at WARNING; and this one without metrics, log and list of requests.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.bench.path_driver import EVERYTHING, NO_LOG, NOTHING
from tests.worker import ROOT

_DRIVER = Path(__file__).with_name("path_driver.py")


class Driven:
    """A process that drives a checkout's service."""

    def __init__(self, checkout: Path, what: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_DRIVER), what],
            cwd=checkout,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONHASHSEED": "0",
                "PYTHONPATH": str(checkout),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()  # when it is warm

    def measure(self) -> float:
        """CPU time per request, in microseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.path")
    parser.add_argument("--before", type=Path, help="the checkout of a former router")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    variants = {what: (ROOT, what) for what in (EVERYTHING, NO_LOG, NOTHING)}
    if args.before is not None:
        variants["before"] = (args.before.resolve(strict=True), EVERYTHING)
    with ExitStack() as stack:
        driven = {}
        for name, (checkout, what) in variants.items():
            driven[name] = Driven(checkout, what)
            stack.callback(driven[name].close)
        spent: dict[str, list[float]] = {name: [] for name in driven}
        for number in range(args.rounds + 1):
            for name in random.sample(list(driven), len(driven)):
                figure = driven[name].measure()
                if number:  # the first round warms up
                    spent[name].append(figure)
    _show(spent)
    return 0


def _show(spent: Mapping[str, list[float]]) -> None:
    print(f"{'µs of CPU time per request':28}{'median':>8}{'least':>8}{'of all':>8}")
    for name, values in spent.items():
        pairs = zip(values, spent[EVERYTHING], strict=True)
        ratio = statistics.median(one / everything for one, everything in pairs)
        print(f"{name:28}{statistics.median(values):8.1f}{min(values):8.1f}{ratio:8.3f}")


if __name__ == "__main__":
    sys.exit(main())
