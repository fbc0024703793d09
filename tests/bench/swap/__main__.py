"""`make bench-swap`: how often, and for how long, requests wait while models take turns.

    python -m tests.bench.swap [--quick] [--trace NAME] [--mode NAME] [--seeds N]

Runs the real decision code in virtual time, beside rivals that decide about the same trace on
the same machine.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.bench.swap.figures import Figures, figures
from tests.bench.swap.modes import modes
from tests.bench.swap.traces import TRACES
from tests.bench.swap.world import World

HEAD = (
    f"{'':28}{'served':>8}{'p50 s':>8}{'p95 s':>8}{'longest':>9}{'cold':>6}{'wakes':>7}"
    f"{'idle':>7}{'starved':>9}  worst model"
)


QUICK = ("declared", "undeclared", "prestart", "sleep")  # as far as this version has them


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.swap")
    parser.add_argument("--quick", action="store_true", help="one seed, this scheduler alone")
    parser.add_argument("--trace", action="append", choices=TRACES)
    parser.add_argument("--mode", action="append", choices=modes())
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for name in args.trace or TRACES:
        trace = TRACES[name](args.seed)
        print(f"\n{name}: {trace.title} ({len(trace.requests)} requests)\n{HEAD}")
        for mode in modes().values():
            if mode.name not in (args.mode or (QUICK if args.quick else modes())):
                continue
            began = time.perf_counter()
            world = World(trace, mode.make(trace), declared=mode.declared)
            world.run()
            took = time.perf_counter() - began
            print(f"{line(mode.title, figures(world))}  ({took:.1f} s)")
    return 0


def line(title: str, one: Figures) -> str:
    return (
        f"{title:28}{one.served:8.1%}{one.p50:8.1f}{one.p95:8.1f}{one.longest:9.1f}"
        f"{one.cold_starts:6}{one.wakes:7}{one.idle:7.1%}{one.starved:9.0f}  {one.starving}"
    )


if __name__ == "__main__":
    sys.exit(main())
