"""Measures work in steps: other processes can't disturb this measure."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def lines_of(work: Callable[[], object]) -> int:
    """Count the lines of Python that `work` executes."""
    count = 0

    def trace(*_: object) -> object:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    with _no_collection():
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            work()
        finally:
            sys.settrace(before)
    return count


def calls_of(work: Callable[[], object]) -> int:
    """Count the calls of Python and C functions that `work` makes."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with _no_collection():
        sys.setprofile(note)
        try:
            work()
        finally:
            sys.setprofile(None)
    return count


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hypothesis adds a callback to the garbage collector, which would be counted."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
