"""`make bench-fleet`: which worker gets a request, for 1 to 1,000 workers, in virtual time.

    python -m tests.bench.fleet [--quick] [--json FILE] [--page]

The real scheduler runs on each simulated worker. The real routing is compared with other ways.
`--quick`: up to ten workers. `--page` writes the figures and plots of docs/fleet.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.fleet.decision import decision_times
from tests.bench.fleet.page import page
from tests.bench.fleet.plots import plot
from tests.bench.fleet.session_page import session_lines
from tests.bench.fleet.session_suite import REPLICAS, measure_sessions
from tests.bench.fleet.suite import SCALES, SWEEPS, WAYS, Results, Row, measure

DOCS = Path(__file__).parents[3] / "docs"
BEGIN, END = "<!-- bench-fleet:begin -->\n", "<!-- bench-fleet:end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.fleet")
    parser.add_argument("--quick", action="store_true", help="up to ten workers")
    parser.add_argument("--json", type=Path, help="write the figures of each run here")
    parser.add_argument("--page", action="store_true", help="write docs/fleet.md and its plots")
    args = parser.parse_args()
    most = 10 if args.quick else 1000
    scales, sweeps = (
        {kind: [one for one in of if one.workers <= most] for kind, of in sizes.items()}
        for sizes in (SCALES, SWEEPS)
    )
    by_session = measure_sessions()
    by_scale, by_workers = measure(scales), measure(sweeps)
    text = page(by_scale, by_workers, by_session, decision_times())
    print(text)
    if args.json:
        told = {"scales": _plain(by_scale), "sweeps": _plain(by_workers)}
        args.json.write_text(json.dumps(told, indent=1) + "\n")
    if args.page:
        file = DOCS / "fleet.md"
        before, _, rest = file.read_text().partition(BEGIN)
        file.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}")
        (DOCS / "fleet").mkdir(exist_ok=True)
        for kind, rows in by_workers.items():
            below = [row.size.workers for row in rows]
            title = "cold starts of 100 requests, by workers"
            (DOCS / "fleet" / f"{kind}.svg").write_text(plot(title, below, _lines(rows)))
        title = "percent of the prompts' tokens in a prefix cache, by replicas"
        drawn = plot(title, REPLICAS, session_lines(by_session))
        (DOCS / "fleet" / "sessions.svg").write_text(drawn)
    return 0


def _lines(rows: Sequence[Row]) -> dict[str, list[float]]:
    return {
        title: [100 * row.ways[way].cold_starts / row.ways[way].requests for row in rows]
        for way, title in WAYS.items()
    }


def _plain(results: Results) -> dict[str, list[object]]:
    return {kind: [asdict(row) for row in rows] for kind, rows in results.items()}


if __name__ == "__main__":
    sys.exit(main())
