"""Handles Ctrl-C at any moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Inside the `with` block, the first signal raises `KeyboardInterrupt`. Later signals do
    nothing, even after the block: stopping takes seconds, and a second Ctrl-C must not leave
    processes behind."""

    def __init__(self) -> None:
        self._came = self._held = False

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._come) for number in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, signal.SIG_IGN if self._came else handler)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Raise only after the block: an interrupt inside `Popen` loses the child process."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came:
            raise KeyboardInterrupt

    def _come(self, _number: int, _frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            if not self._held:
                raise KeyboardInterrupt
