"""The figures of all rounds, as tables and as JSON, and the checks on them."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.cases import CASES, CROWD, MANY, ONE, STREAMS_256, Case, Figures
from tests.bench.ways import BEFORE, DIRECT, ROUTER

PASS_THROUGH, SPLICE, SGLANG, LITELLM = (
    "aiohttp pass-through",
    "socket splice",
    "sglang-router",
    "LiteLLM",
)


@dataclass(frozen=True, slots=True)
class Results:
    """* `cases`: by title, then by way.
    * `memory`: bytes per idle stream.
    * `starts`: seconds.
    * `idle`: shares of a core.
    """

    cases: Mapping[str, Mapping[str, Sequence[Figures]]]
    memory: Mapping[str, float]
    starts: Mapping[str, Sequence[float]]
    idle: Mapping[str, float]

    def of(self, case: Case) -> Mapping[str, Sequence[Figures]]:
        return self.cases[case.title]


@dataclass(frozen=True, slots=True)
class Check:
    """One claim that a run must show. `values`: one per round."""

    what: str
    values: Sequence[float]
    bound: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        found = statistics.median(self.values)
        return found <= self.bound if self.at_most else found >= self.bound


def checks(results: Results) -> Iterator[Check]:
    """The checks that are possible with the installed products."""
    one, many, crowd = results.of(ONE), results.of(MANY), results.of(CROWD)
    events = results.of(STREAMS_256)
    if PASS_THROUGH in one:
        yield from _beside_the_pass_through(one, many)
    for case, found in ((MANY, many), (CROWD, crowd)):
        for other, bound in ((PASS_THROUGH, 0.65), (SGLANG, 0.4)):
            if other in found:
                what = f"requests a second, {case.callers} callers / {other}'s"
                yield Check(
                    what, _ratios(rates(found, ROUTER), rates(found, other)), bound, False
                )
    for other, bound in ((PASS_THROUGH, 1.0), (SPLICE, 2.0)):
        if other in events:
            what = f"CPU time per event, 256 streams / {other}'s"
            yield Check(what, _ratios(cpu(events, ROUTER), cpu(events, other)), bound)
    yield Check("memory of an idle stream, kB", [results.memory[ROUTER] / 1000], 20)
    if LITELLM in many:
        what = "CPU time per request, LiteLLM / router's"
        yield Check(what, _ratios(cpu(many, LITELLM), cpu(many, ROUTER)), 20, False)
    if BEFORE in many:
        for case in CASES:
            found = results.of(case)
            what = f"CPU time, {case.title} / {BEFORE}'s"
            yield Check(what, _ratios(cpu(found, ROUTER), cpu(found, BEFORE)), 1.0)


def _beside_the_pass_through(
    one: Mapping[str, Sequence[Figures]], many: Mapping[str, Sequence[Figures]]
) -> Iterator[Check]:
    added = _ratios(_added(one, ROUTER), _added(one, PASS_THROUGH))
    yield Check(f"added p50, one caller / {PASS_THROUGH}'s", added, 1.5)
    for case, found in ((ONE, one), (MANY, many)):
        what = f"CPU time per request, {case.title} / {PASS_THROUGH}'s"
        yield Check(what, _ratios(cpu(found, ROUTER), cpu(found, PASS_THROUGH)), 1.6)


def show(results: Results) -> None:
    for title, figures in results.cases.items():
        rounds = len(next(iter(figures.values())))
        print(f"\n{title} ({rounds} rounds; medians and quartiles)")
        print(f"{'':22}{'CPU µs each':>28}{'p50 ms':>10}{'a second':>12}")
        for way in figures:
            rate = statistics.median(rates(figures, way))
            spent = spread(cpu(figures, way))
            print(f"{way:22}{spent:>28}{latency(figures[way]):>10}{rate:12.0f}")
    print(f"\n{'':22}{'kB a stream':>14}{'start s':>24}{'idle, % of a core':>20}")
    for way, idle in results.idle.items():
        memory = f"{results.memory[way] / 1000:.1f}" if way in results.memory else ""
        starts = spread(results.starts.get(way, ()), 2)
        print(f"{way:22}{memory:>14}{starts:>24}{idle * 100:20.2f}")
    print()
    for check in checks(results):
        sign = "<=" if check.at_most else ">="
        held = "holds" if check.holds else "MISSED"
        print(f"{check.what:64}{spread(check.values, 2):>26} {sign} {check.bound:<5g}{held}")


def save(results: Results, file: Path, checkouts: Mapping[str, Path]) -> None:
    content = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commits": {name: _commit(checkout) for name, checkout in checkouts.items()},
        **asdict(results),
    }
    file.write_text(json.dumps(content, indent=1) + "\n")


def cpu(figures: Mapping[str, Sequence[Figures]], way: str) -> list[float]:
    return [one.cpu for one in figures[way] if one.cpu is not None]


def rates(figures: Mapping[str, Sequence[Figures]], way: str) -> list[float]:
    return [one.rate for one in figures[way]]


def latency(found: Sequence[Figures]) -> str:
    medians = [one.median for one in found if one.median is not None]
    return f"{statistics.median(medians) / 1000:.3f}" if medians else ""


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the quartiles if there are enough values."""
    if len(values) < 2:
        return "".join(f"{value:.{digits}f}" for value in values)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _added(figures: Mapping[str, Sequence[Figures]], way: str) -> list[float]:
    """Added median latency, round by round."""
    pairs = zip(figures[way], figures[DIRECT], strict=True)
    return [(one.median or 0.0) - (direct.median or 0.0) for one, direct in pairs]


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratios, round by round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
