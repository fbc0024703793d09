"""The part of docs/fleet.md that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf

from router.simulation.fleet_world import FleetFigures
from tests.bench.fleet.decision import MODELS, WORKERS, DecisionTimes
from tests.bench.fleet.suite import WAYS, Results, Row

TARGET = 60.0  # seconds: a p95 that callers may bear with
_TITLES = {
    "zipf": "Zipf: requests come one by one, the n-th model in proportion to 1/n",
    "bursty": "Bursts: a user works with a model for one to three minutes, then leaves",
}
_HEAD = """| workers | models | requests | | served | p50 | p95 | cold starts | busy GPU hours |
|---|---|---|---|---|---|---|---|---|"""


def page(by_scale: Results, by_workers: Results, times: Sequence[DecisionTimes]) -> str:
    return "\n".join(
        [
            *_scales(by_scale),
            *_sweeps(by_workers),
            *_decisions(times),
        ]
    )


def _scales(results: Results) -> Iterator[str]:
    yield "### Fleets of 1 to 1,000 workers, ten models for each\n"
    for kind, rows in results.items():
        yield f"**{_TITLES[kind]}**\n"
        yield _HEAD
        for row in rows:
            yield from _row(row)
        yield ""


def _sweeps(results: Results) -> Iterator[str]:
    yield "### The same load on ever more workers\n"
    for kind, rows in results.items():
        yield f"**{_TITLES[kind]}**\n"
        yield f"![cold starts by workers](fleet/{kind}.svg)\n"
        yield _HEAD
        for row in rows:
            yield from _row(row)
        yield ""
        yield f"The smallest of these fleets with a p95 of {TARGET:.0f} s or less:\n"
        yield "| | workers, and so GPU hours in an hour |"
        yield "|---|---|"
        for way, title in WAYS.items():
            fits = [row.size.workers for row in rows if row.ways[way].p95 <= TARGET]
            told = str(min(fits)) if fits else f"more than {rows[-1].size.workers}"
            yield f"| {title} | {told} |"
        yield ""


def _row(row: Row) -> Iterator[str]:
    size = row.size
    requests = next(iter(row.ways.values())).requests
    head = f"{size.workers:,} | {size.models:,} | {requests:,}"
    for way, title in WAYS.items():
        yield f"| {head} | {title} | {_figures(row.ways[way])} |"
        head = " | | "
    yield f"| {head} | fewest that any can have | | | | {row.bound:,} | |"


def _figures(one: FleetFigures) -> str:
    served = "100 %" if one.served == 1 else f"{min(99.9, one.served * 100):.1f} %"
    return (
        f"{served} | {_seconds(one.p50)} | {_seconds(one.p95)} | {one.cold_starts:,} | "
        f"{one.busy:.1f}"
    )


def _seconds(value: float) -> str:
    return "never" if isinf(value) else f"{value:.0f}"


def _decisions(times: Sequence[DecisionTimes]) -> Iterator[str]:
    yield f"### A decision among {WORKERS:,} workers and {MODELS:,} models\n"
    yield "Microseconds of one core.\n"
    yield "| the model is | median | p99 |"
    yield "|---|---|---|"
    for one in times:
        yield f"| {one.what} | {one.median:.0f} | {one.p99:.0f} |"
    yield ""
