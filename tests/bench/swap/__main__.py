"""`make bench-swap`: how often, and how long, requests wait while models take turns.

    python -m tests.bench.swap [--quick] [--trace NAME] [--mode NAME] [--seeds N] [--bounds]
                               [--json FILE] [--page]

Runs the real decision code in virtual time, and rivals on the same trace and machine.
`--quick`: only this scheduler, one seed. `--page` writes docs/swaps.md and its plots.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench.swap.figures import Figures
from tests.bench.swap.modes import modes
from tests.bench.swap.page import page
from tests.bench.swap.plots import plot
from tests.bench.swap.rivals import RIVALS
from tests.bench.swap.suite import Results, measure, summary
from tests.bench.swap.traces import TRACES

DOCS = Path(__file__).parents[3] / "docs"
SEEDS = 3
HEAD = (
    f"{'':28}{'served':>8}{'p50 s':>8}{'p95 s':>8}{'longest':>9}{'cold':>6}{'wakes':>7}"
    f"{'idle':>7}{'starved':>9}  worst model"
)


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.swap")
    parser.add_argument("--quick", action="store_true", help="this scheduler alone, one seed")
    parser.add_argument("--trace", action="append", choices=TRACES)
    parser.add_argument("--mode", action="append", choices=modes())
    parser.add_argument("--seeds", type=int, help=f"how many; default: {SEEDS}")
    parser.add_argument("--bounds", action="store_true", help="also the offline bounds")
    parser.add_argument("--json", type=Path, help="write the figures of each run here")
    parser.add_argument("--page", action="store_true", help="write docs/swaps.md")
    args = parser.parse_args()
    others = {rival.name for rival in RIVALS}
    ours = [name for name in modes() if name not in others]
    results = measure(
        args.trace or TRACES,
        args.mode or (ours if args.quick else modes()),
        range(1, 1 + (args.seeds or (1 if args.quick else SEEDS))),
        bounds=args.bounds or args.page,
    )
    show(results)
    if args.json:
        args.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    if args.page:
        (DOCS / "swaps").mkdir(exist_ok=True)
        (DOCS / "swaps.md").write_text(page(results))
        for name, runs in results.runs.items():
            (DOCS / "swaps" / f"{name}.svg").write_text(plot(runs))
    return 0


def show(results: Results) -> None:
    for name, runs in results.runs.items():
        print(f"\n{name}: {TRACES[name](1).title}\n{HEAD}")
        for mode, found in runs.items():
            print(line(modes()[mode].title, summary(found)))
        for one in results.bounds.get(name, ()):
            print(
                f"patience {one.patience:.0f} s: at least {one.proven} cold starts "
                f"({one.proven_prestarted} with prestart); best known: {one.known}"
            )


def line(title: str, one: Figures) -> str:
    return (
        f"{title:28}{one.served:8.1%}{one.p50:8.1f}{one.p95:8.1f}{one.longest:9.1f}"
        f"{one.cold_starts:6}{one.wakes:7}{one.idle:7.1%}{one.starved:9.0f}  {one.starving}"
    )


if __name__ == "__main__":
    sys.exit(main())
