"""Starting `family.py`, and finding who of it is alive without the code under test."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FAMILY = Path(__file__).with_name("family.py")
WITHIN = 10.0  # seconds; far more than anything here takes


class Family:
    """One family, known by a word in its environment that no other process has."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.word = f"FAMILY={secrets.token_hex(16)}"

    @property
    def env(self) -> dict[str, str]:
        name, _, value = self.word.partition("=")
        return {"PATH": os.environ["PATH"], name: value}

    def argv(self, *traits: str) -> list[str]:
        return [sys.executable, "-I", "-S", str(FAMILY), str(self.directory), *traits]

    def stands(self) -> bool:
        return (self.directory / "main").exists()

    def pid(self, member: str) -> int:
        return int((self.directory / member).read_text())

    def alive(self) -> list[int]:
        return [int(e.name) for e in Path("/proc").glob("[0-9]*") if self._has(e)]

    def is_gone(self) -> bool:
        return not self.alive()

    def kill(self) -> None:
        """For tests that end too early: leave nothing behind on this machine."""
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
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
