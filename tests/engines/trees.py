"""Starts `stubborn_tree.py`, and finds its processes without the code under test."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SCRIPT = Path(__file__).with_name("stubborn_tree.py")
WITHIN = 90.0  # seconds; far more than anything here takes


class StubbornTree:
    """One process tree. A variable with a unique value in its environment identifies it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.word = f"STUBBORN_TREE={secrets.token_hex(16)}"

    @property
    def env(self) -> dict[str, str]:
        name, _, value = self.word.partition("=")
        return {"PATH": os.environ["PATH"], name: value}

    def argv(self, *traits: str) -> list[str]:
        return [sys.executable, "-I", "-S", str(SCRIPT), str(self.directory), *traits]

    def stands(self) -> bool:
        return (self.directory / "main").exists()

    def pid(self, member: str) -> int:
        return int((self.directory / member).read_text())

    def alive(self) -> list[int]:
        return [int(e.name) for e in Path("/proc").glob("[0-9]*") if self._has(e)]

    def is_gone(self) -> bool:
        return not self.alive()

    def kill(self) -> None:
        """Leave no process behind after a test that failed early."""
        while alive := self.alive():
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _has(self, entry: Path) -> bool:
        # A zombie's environment reads as empty.
        with suppress(OSError):
            return self.word.encode() in (entry / "environ").read_bytes()
        return False


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
