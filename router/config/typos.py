"""Finds variables that are probably misspelled: one or two letters away from a setting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

# Other programs' variables that happen to be close to a setting.
_NOT_OURS = frozenset({"MODULEPATH"})
_SHORTEST = 5  # letters; HOST and PORT are close to too many other names


def misspelled(given: Iterable[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of an unknown given name and the known name that was probably meant."""
    for name in given:
        if name in known or name in _NOT_OURS or name.startswith("RUNPOD_"):
            continue
        written = name.upper()
        near = {other: distance(written, other) for other in known if _alike(written, other)}
        likely = min(near, key=lambda other: near[other], default=None)
        if likely is not None and near[likely] <= _allowed(written, likely):
            yield name, likely


def _alike(name: str, other: str) -> bool:
    """Whether the names may differ in at most two letters: a quick test that excludes most."""
    if len(other) < _SHORTEST or abs(len(name) - len(other)) > 2:
        return False
    return len({*name} ^ {*other}) <= 4  # changing a letter takes one away and adds one


def _allowed(name: str, other: str) -> int:
    """How many letters may differ: fewer in a short name, or if the first letter differs."""
    # GH_TOKEN is not a misspelled HF_TOKEN, nor TYPE a misspelled DTYPE.
    long, begins_alike = len(other) >= 8, name[:1] == other[:1]
    return long + begins_alike


def distance(one: str, other: str) -> int:
    """The number of letters to add, drop, change, or swap with their neighbor."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and (a, one[i - 2]) == (other[j - 2], b):
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]
