"""A pretended GPU: a directory where each engine writes how much memory it takes."""

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
