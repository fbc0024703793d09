"""Joins the metrics of several workers into one text, each with a label for its worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Family:
    head: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)


def joined_text(label: str, texts: Iterable[tuple[str, str]]) -> str:
    """Join texts in Prometheus's format, as `Exposition` writes it.

    `texts` are pairs of a value for `label`, which needs no escapes, and a text. The texts are
    not parsed, because that takes a second for each megabyte.
    """
    families: dict[str, _Family] = {}
    for value, text in texts:
        own = f'{label}="{value}"'
        family, whole = _Family(), False
        for line in text.split("\n"):  # labels may have other ends of lines
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                whole = name not in families
                family = families.setdefault(name, _Family())
            if line.startswith("#"):
                if whole:
                    family.head.append(line)
            elif line:
                family.samples.append(_labelled(line, own))
    lines = (line for one in families.values() for line in (*one.head, *one.samples))
    return "".join(f"{line}\n" for line in lines)


def _labelled(sample: str, own: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f"{name}{{{own},{rest}"
    name, _, rest = sample.partition(" ")
    return f"{name}{{{own}}} {rest}"
