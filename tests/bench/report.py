"""The figures of all rounds, as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.bench.cases import Case, Figures
from tests.bench.ways import Way

Results = Mapping[Case, Mapping[Way, list[Figures]]]


def show(results: Results) -> None:
    for case, figures in results.items():
        rounds = len(next(iter(figures.values())))
        print(f"\n{case.title} ({rounds} rounds; medians and quartiles)")
        print(f"{'':14}{f'CPU µs/{case.unit}':>28}{'p50 ms':>10}{f'{case.unit}s/s':>12}")
        for way, found in figures.items():
            rate = statistics.median(one.rate for one in found)
            print(f"{way.name:14}{_spread(_cpu(found)):>28}{_latency(found):>10}{rate:12.0f}")
        for above, below in (("router", "before"), ("router", "pass-through")):
            if ratios := _ratios(figures, above, below):
                print(f"{above} / {below}: {_spread(ratios, 3)}")


def save(results: Results, file: Path, checkouts: Mapping[str, Path]) -> None:
    content = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commits": {name: _commit(checkout) for name, checkout in checkouts.items()},
        "cases": [
            {
                "title": case.title,
                "unit": case.unit,
                "ways": {
                    way.name: [asdict(one) for one in found] for way, found in all_.items()
                },
            }
            for case, all_ in results.items()
        ],
    }
    file.write_text(json.dumps(content, indent=1) + "\n")


def _cpu(found: list[Figures]) -> list[float]:
    return [one.cpu for one in found if one.cpu is not None]


def _latency(found: list[Figures]) -> str:
    medians = [one.median for one in found if one.median is not None]
    return f"{statistics.median(medians) / 1000:.3f}" if medians else ""


def _ratios(figures: Mapping[Way, list[Figures]], above: str, below: str) -> list[float]:
    """Of the CPU times, round by round; empty where one of the two was not measured."""
    by_name = {way.name: _cpu(found) for way, found in figures.items()}
    pairs = zip(by_name.get(above, []), by_name.get(below, []), strict=False)
    return [one / other for one, other in pairs]


def _spread(values: list[float], digits: int = 1) -> str:
    """The median, and the quartiles where there are enough for them."""
    if len(values) < 2:
        return "".join(f"{value:.{digits}f}" for value in values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
