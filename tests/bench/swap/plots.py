"""Plots as plain SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isinf

from router.simulation.world import QUEUE_TIMEOUT
from tests.bench.swap.figures import Figures
from tests.bench.swap.modes import modes
from tests.bench.swap.suite import summary

_LABEL, _BAR, _ROW, _HEAD = 190, 220, 24, 34
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}.p{fill:#4078c0}.c{fill:#d98032}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.p{fill:#6ea3e6}.c{fill:#e8a05c}}</style>"
)


def plot(runs: Mapping[str, Sequence[Figures]]) -> str:
    """Two bars for each way of deciding: p95 of the waits, and cold starts."""
    found = {modes()[mode].title: summary(one) for mode, one in runs.items()}
    most = max(1, *(one.cold_starts for one in found.values()))
    width, height = _LABEL + 2 * (_BAR + 70), _HEAD + _ROW * len(found)
    right = _LABEL + _BAR + 70
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        _STYLE,
        f'<text x="{_LABEL}" y="18">p95 of the waits, s</text>',
        f'<text x="{right}" y="18">cold starts</text>',
    ]
    for number, (title, one) in enumerate(found.items()):
        y = _HEAD + number * _ROW
        wait = QUEUE_TIMEOUT if isinf(one.p95) else one.p95
        shown = f"over {QUEUE_TIMEOUT:.0f}" if isinf(one.p95) else f"{one.p95:.0f}"
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(title)}</text>',
            *_bar(_LABEL, y, "p", wait / QUEUE_TIMEOUT, shown),
            *_bar(right, y, "c", one.cold_starts / most, str(one.cold_starts)),
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(x: int, y: int, kind: str, share: float, shown: str) -> list[str]:
    length = max(1, round(share * _BAR))
    return [
        f'<rect class="{kind}" x="{x}" y="{y + 3}" width="{length}" height="{_ROW - 8}"/>',
        f'<text x="{x + length + 6}" y="{y + 14}">{shown}</text>',
    ]
