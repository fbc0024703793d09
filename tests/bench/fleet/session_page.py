"""The part of docs/fleet.md about conversations."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.fleet.session_suite import SessionResults
from tests.bench.fleet.sessions import WAYS


def session_part(results: SessionResults) -> Iterator[str]:
    yield "### Conversations on several replicas of one model\n"
    yield "![share of prompts in a prefix cache](fleet/sessions.svg)\n"
    yield "| | replicas | requests | | from a cache | mean wait | p95 | busiest replica |"
    yield "|---|---|---|---|---|---|---|---|"
    for case, ways in results:
        requests = next(iter(ways.values())).requests
        head = f"{case.title} | {case.replicas} | {requests:,}"
        for way, title in WAYS.items():
            one = ways[way]
            yield (
                f"| {head} | {title} | {one.hits:.0%} | {one.mean:.2f} | {one.p95:.2f} | "
                f"{one.imbalance:.2f} |"
            )
            head = " | | "
    yield ""


def session_lines(results: SessionResults) -> dict[str, list[float]]:
    """Percentages of tokens, for the cases that differ only in their number of replicas."""
    same = [ways for case, ways in results if case.title == results[0][0].title]
    return {title: [100 * ways[way].hits for ways in same] for way, title in WAYS.items()}
