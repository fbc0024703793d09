"""A GPU that is a directory of notes: each engine notes there what it takes."""

from __future__ import annotations

from pathlib import Path

from engines.memory import NvmlGauge
from tests.fake_engine.saver import taken

_TOTAL = 80 << 30  # bytes


class PretendedGpu(NvmlGauge):
    def __init__(self, notes: Path) -> None:
        super().__init__((), patience=5.0)
        self._notes = notes

    def total(self) -> int:
        return _TOTAL

    def free(self) -> int:
        return _TOTAL - taken(self._notes)
