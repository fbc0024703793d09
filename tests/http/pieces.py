"""Cuts bytes into pieces, like a network."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st


def cuts() -> st.SearchStrategy[list[int]]:
    """Positions of cuts. A position beyond the end cuts nothing."""
    return st.lists(st.integers(min_value=1, max_value=400), max_size=12)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, *(place for place in at if place < len(data)), len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]
