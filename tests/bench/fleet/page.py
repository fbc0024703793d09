"""The measured part of docs/fleet.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf

from router.simulation.fleet_world import FleetFigures
from tests.bench.fleet.decision import MODELS, WORKERS, DecisionTimes
from tests.bench.fleet.session_page import session_part
from tests.bench.fleet.session_suite import SessionResults
from tests.bench.fleet.suite import WAYS, Results, Row

TARGET = 60.0  # seconds: a p95 that callers may accept
_TITLES = {
    "zipf": "Zipf: requests come one by one, the n-th model in proportion to 1/n",
    "bursty": "Bursts: a user works with a model for one to three minutes, then leaves",
}
_HEAD = """| workers | models | requests | | served | p50 | p95 | cold starts | busy GPU hours |
|---|---|---|---|---|---|---|---|---|"""


AIM = 5  # times fewer cold starts than a queue


def page(
    by_scale: Results,
    by_workers: Results,
    by_session: SessionResults,
    times: Sequence[DecisionTimes],
) -> str:
    return "\n".join(
        [
            *_scales(by_scale),
            *_sweeps(by_workers),
            *_aims(by_scale, by_workers),
            *session_part(by_session),
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
    yield "### The same load on more and more workers\n"
    for kind, rows in results.items():
        yield f"**{_TITLES[kind]}**\n"
        yield f"![cold starts by workers](fleet/{kind}.svg)\n"
        yield _HEAD
        for row in rows:
            yield from _row(row)
        yield ""
        yield f"The smallest of these fleets with a p95 of {TARGET:.0f} s or less:\n"
        yield "| | workers (GPU hours per hour) |"
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
    least = row.bounds
    yield f"| {head} | *fewest, in request order* | | | | {least.in_order:,} | |"
    p95, busy = _seconds(least.p95), f"{least.busy:.1f}"
    yield f"| {head} | *lower bound* | | | {p95} | {least.cold_starts:,} | {busy} |"


def _aims(*all_results: Results) -> Iterator[str]:
    yield f"### At least {AIM} times fewer cold starts than a queue\n"
    yield "Cold starts of a queue, as a multiple of each:\n"
    yield ("| | workers | models | bounded load | fewest in order | fewest of any | aim |")
    yield "|---|---|---|---|---|---|---|"
    for kind in _TITLES:
        rows = {row.size: row for results in all_results for row in results.get(kind, ())}
        for size in sorted(rows, key=lambda one: (one.models, one.workers)):
            yield f"| {kind} | {size.workers:,} | {size.models:,} | {_aim(rows[size])} |"
    yield ""


def _aim(row: Row) -> str:
    queue, bounded = row.ways["random"].cold_starts, row.ways["bounded"].cold_starts
    told = "missed"
    if queue >= AIM * bounded:
        told = "met"
    elif queue < AIM * row.bounds.cold_starts:
        told = "impossible"
    elif queue < AIM * row.bounds.in_order:
        told = "impossible in order"
    ratios = (bounded, row.bounds.in_order, row.bounds.cold_starts)
    return " | ".join([*(f"{queue / one:.1f}" for one in ratios), told])


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
    yield "Microseconds of one core; the goal is 50.\n"
    yield "| the model is | median | p99 |"
    yield "|---|---|---|"
    for one in times:
        yield f"| {one.what} | {one.median:.0f} | {one.p99:.0f} |"
    yield ""
