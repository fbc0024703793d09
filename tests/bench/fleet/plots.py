"""A plot as plain SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 300, 60, 30, 190, 40
_COLORS = ("#d98032", "#b0605f", "#4078c0", "#2f9e6e", "#8a63b8")
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}line{stroke:#bbb}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}line{stroke:#555}}</style>"
)


def plot(title: str, below: Sequence[int], lines: Mapping[str, Sequence[float]]) -> str:
    """Lines of percentages, each with one value per number in `below`."""
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        _STYLE,
        f'<text x="{_LEFT}" y="18">{escape(title)}</text>',
    ]
    for share in (0, 25, 50, 75, 100):
        y = _y(share)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{share}</text>',
        ]
    for number, told in enumerate(below):
        x = _x(number, len(below))
        parts.append(f'<text x="{x}" y="{_HEIGHT - 14}" text-anchor="middle">{told}</text>')
    for number, (name, shares) in enumerate(lines.items()):
        points = " ".join(f"{_x(n, len(below))},{_y(s)}" for n, s in enumerate(shares))
        color, right, y = _COLORS[number], _WIDTH - _RIGHT + 20, _TOP + 24 * number
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.5"/>',
            f'<rect x="{right}" y="{y}" width="14" height="14" fill="{color}"/>',
            f'<text x="{right + 20}" y="{y + 12}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(number: int, count: int) -> int:
    room = _WIDTH - _LEFT - _RIGHT
    return round(_LEFT + 20 + number * (room - 40) / max(1, count - 1))


def _y(share: float) -> int:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM) / 100)
