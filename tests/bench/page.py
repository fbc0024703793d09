"""Writes the marked part of docs/benchmarks.md, and its plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.cases import CASES, MANY, STREAMS_256, Case, Figures
from tests.bench.report import Results, checks, cpu, latency, rates, spread
from tests.bench.ways import DIRECT
from tests.worker import ROOT

DOCS = ROOT / "docs"
_BEGIN, _END = "<!-- bench:begin -->", "<!-- bench:end -->"
_PLOTS = {"requests": MANY, "events": STREAMS_256}

_LABEL, _BAR, _ROW, _HEAD = 170, 360, 24, 34
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}.p{fill:#4078c0}.o{fill:#9aa5b1}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.p{fill:#6ea3e6}.o{fill:#6b7683}}</style>"
)


def write(results: Results) -> None:
    file = DOCS / "benchmarks.md"
    before, _, rest = file.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    file.write_text(f"{before}{_BEGIN}\n{section(results)}{_END}{after}")
    (DOCS / "benchmarks").mkdir(exist_ok=True)
    for name, case in _PLOTS.items():
        (DOCS / "benchmarks" / f"{name}.svg").write_text(plot(results, case))


def section(results: Results) -> str:
    rounds = len(next(iter(results.of(MANY).values())))
    parts = [f"Medians of {rounds} rounds by turns, with quartiles.\n"]
    parts += [_table(case, results.of(case)) for case in CASES]
    parts += [f"![{case.title}](benchmarks/{name}.svg)\n" for name, case in _PLOTS.items()]
    parts += [_others(results), _checks(results)]
    return "\n".join(parts)


def plot(results: Results, case: Case) -> str:
    """A bar of CPU time for each way. Bars too long for the plot are cut, with a mark."""
    found = results.of(case)
    ways = {way: statistics.median(cpu(found, way)) for way in found if way != DIRECT}
    # The slowest one would leave no room for the others.
    most = sorted(ways.values())[-2]
    height = _HEAD + _ROW * len(ways)
    size = f'width="640" height="{height}" viewBox="0 0 640 {height}"'
    title = f"CPU time per {case.unit}, µs: {case.title}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        _STYLE,
        f'<text x="{_LABEL}" y="18">{escape(title)}</text>',
    ]
    for number, (way, value) in enumerate(sorted(ways.items(), key=lambda pair: pair[1])):
        y, length = _HEAD + number * _ROW, max(1, round(min(1.0, value / most) * _BAR))
        kind = "p" if way == "router" else "o"
        shown = f"{value:,.0f}" + (" (bar cut)" if value > most else "")
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(way)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 3}" width="{length}" height="16"/>',
            f'<text x="{_LABEL + length + 6}" y="{y + 14}">{shown}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _table(case: Case, figures: Mapping[str, Sequence[Figures]]) -> str:
    p50 = case.unit == "request"
    head = [
        "",
        f"CPU µs per {case.unit}",
        *(["p50 ms"] if p50 else []),
        f"{case.unit}s a second",
    ]
    rows = [
        [
            way,
            spread(cpu(figures, way)),
            *([latency(figures[way])] if p50 else []),
            f"{statistics.median(rates(figures, way)):,.0f}",
        ]
        for way in figures
    ]
    return f"**{case.title}**\n\n{_rows(head, rows)}"


def _others(results: Results) -> str:
    head = ["", "memory of an idle stream, kB", "start, s", "idle, % of a core"]
    rows = [
        [
            way,
            f"{results.memory[way] / 1000:.1f}" if way in results.memory else "",
            spread(results.starts.get(way, ()), 2),
            f"{idle * 100:.2f}",
        ]
        for way, idle in results.idle.items()
        if way != DIRECT
    ]
    return _rows(head, rows)


def _checks(results: Results) -> str:
    rows = [
        [
            check.what,
            spread(check.values, 2),
            f"at {'most' if check.at_most else 'least'} {check.bound:g}",
            "yes" if check.holds else "**no**",
        ]
        for check in checks(results)
    ]
    return _rows(["", "measured", "wanted", "holds"], rows)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
