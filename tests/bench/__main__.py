"""`make bench`: the router's cost for a model that is loaded.

    python -m tests.bench [--before CHECKOUT] [--json FILE] [--page] [--rounds N] [--seconds S]

One run sends the same requests in turn: directly to an upstream that costs next to nothing,
through each product, through the router of another checkout, and through this router. CPU time
counts only the processes in between. Other work on the machine disturbs it less than rates and
latencies. Quote medians and ratios of one run, and never compare figures of two runs. `--before
X --router X` shows how far two equal routers differ. `--page` writes docs/benchmarks.md and its
plots.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench.cases import CASES, Figures, Meter, idle_cpu, takes_part
from tests.bench.page import write
from tests.bench.report import Results, save, show
from tests.bench.ways import BEFORE, DIRECT, ROUTER, Ways, open_ways
from tests.worker import ROOT


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench")
    parser.add_argument("--before", type=Path, help="the checkout of a former router")
    parser.add_argument("--router", type=Path, default=ROOT, help="default: this checkout")
    parser.add_argument("--json", type=Path, help="write the figures of each round here")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=1, help="of each case and way")
    parser.add_argument("--starts", type=int, default=3, help="of each product")
    parser.add_argument("--only", default="", help="ways to measure, separated by commas")
    args = parser.parse_args()
    checkouts = {BEFORE: args.before, ROUTER: args.router}
    checkouts = {name: path.resolve(strict=True) for name, path in checkouts.items() if path}
    with (
        tempfile.TemporaryDirectory() as directory,
        open_ways(Path(directory), checkouts, args.starts, args.only.split(",")) as ways,
    ):
        results = uvloop.run(_run(ways, Path(directory), args.rounds, args.seconds))
    show(results)
    if args.json is not None:
        save(results, args.json, checkouts)
    if args.page:
        write(results)
    return 0


async def _run(ways: Ways, directory: Path, rounds: int, seconds: int) -> Results:
    meter = Meter(ways.headers, directory)
    quick = [way for way in ways.ways if way.quick and way.name != DIRECT]
    memory = {way.name: await meter.idle_stream(way) for way in quick}
    cases: dict[str, dict[str, list[Figures]]] = {}
    for case in CASES:
        taking_part = [way for way in ways.ways if takes_part(way, case)]
        figures = cases[case.title] = {way.name: [] for way in taking_part}
        for way in taking_part:
            await meter.measure(case, way, 1)  # warms up
        for _ in range(rounds):
            for way in random.sample(taking_part, len(taking_part)):
                figures[way.name].append(await meter.measure(case, way, seconds))
        print(f"measured: {case.title}", flush=True)
    await asyncio.sleep(2)
    idle = await idle_cpu({way.name: way.whole for way in ways.ways}, 10.0)
    starts = {way.name: way.starts for way in ways.ways if way.starts}
    return Results(cases, memory, starts, idle)


if __name__ == "__main__":
    sys.exit(main())
