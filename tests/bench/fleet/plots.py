"""A plot as plain SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.fleet.suite import WAYS, Row

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 300, 60, 30, 190, 40
_COLORS = ("#d98032", "#b0605f", "#4078c0", "#2f9e6e", "#8a63b8")
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}line{stroke:#bbb}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}line{stroke:#555}}</style>"
)


def plot(rows: Sequence[Row]) -> str:
    """Cold starts of 100 requests, by the number of workers."""
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        _STYLE,
        f'<text x="{_LEFT}" y="18">cold starts of 100 requests, by workers</text>',
    ]
    for share in (0, 25, 50, 75, 100):
        y = _y(share)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{share}</text>',
        ]
    for number, row in enumerate(rows):
        x = _x(number, len(rows))
        parts.append(
            f'<text x="{x}" y="{_HEIGHT - 14}" text-anchor="middle">{row.size.workers}</text>'
        )
    for number, (way, title) in enumerate(WAYS.items()):
        shares = [100 * row.ways[way].cold_starts / row.ways[way].requests for row in rows]
        points = " ".join(f"{_x(n, len(rows))},{_y(s)}" for n, s in enumerate(shares))
        color, right, y = _COLORS[number], _WIDTH - _RIGHT + 20, _TOP + 24 * number
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.5"/>',
            f'<rect x="{right}" y="{y}" width="14" height="14" fill="{color}"/>',
            f'<text x="{right + 20}" y="{y + 12}">{escape(title)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(number: int, count: int) -> int:
    room = _WIDTH - _LEFT - _RIGHT
    return round(_LEFT + 20 + number * (room - 40) / max(1, count - 1))


def _y(share: float) -> int:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM) / 100)
