"""`make bench`: what the router costs for a model that is loaded.

    python -m tests.bench [--before CHECKOUT] [--json FILE] [--rounds N] [--seconds S]

The same requests by turns, in one run: directly at an engine that costs next to nothing,
through a minimal aiohttp pass-through, through the router of another checkout, and through
this one. CPU time is that of the process in between alone, which other work on the machine
disturbs less than rates and latencies. Quote medians and ratios of one run, never figures of
two.
`--before X --router X` shows how far two equal routers differ.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench.cases import Case, Figures, cases, measure
from tests.bench.report import save, show
from tests.bench.ways import Way, Ways, open_ways
from tests.worker import ROOT


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench")
    parser.add_argument("--before", type=Path, help="the checkout of a former router")
    parser.add_argument("--router", type=Path, default=ROOT, help="default: this checkout")
    parser.add_argument("--json", type=Path, help="write the figures of each round here")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case and way")
    args = parser.parse_args()
    checkouts = {"before": args.before, "router": args.router}
    checkouts = {name: path.resolve(strict=True) for name, path in checkouts.items() if path}
    with (
        tempfile.TemporaryDirectory() as directory,
        open_ways(Path(directory), checkouts) as ways,
    ):
        results = uvloop.run(_run(ways, args.rounds, args.seconds))
    show(results)
    if args.json is not None:
        save(results, args.json, checkouts)
    return 0


async def _run(ways: Ways, rounds: int, seconds: float) -> dict[Case, dict[Way, list[Figures]]]:
    results: dict[Case, dict[Way, list[Figures]]] = {}
    for case in cases(ways.token):
        figures = results[case] = {way: [] for way in ways.ways}
        for way in ways.ways:
            await measure(case, way, seconds / 2)  # warms up
        for _ in range(rounds):
            for way in random.sample(ways.ways, len(ways.ways)):
                figures[way].append(await measure(case, way, seconds))
    return results


if __name__ == "__main__":
    sys.exit(main())
