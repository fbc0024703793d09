"""A handler with the real SDK in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.loopback_platform.jobs import PATIENCE

_HANDLERS = Path(__file__).with_name("handlers.py")


class HandlerProcess:
    """`with HandlerProcess("name", environ, home) as worker`: runs a worker of `handlers.py`.

    `lines` keeps its output. It has its own process group, which is killed after the block.
    `home` hides the user's `~/.runpod/config.toml` from it.
    """

    def __init__(
        self, handler: str, environ: Mapping[str, str], home: Path, *arguments: str
    ) -> None:
        self.lines: list[str] = []
        # Without -P, this directory's platform.py would hide the standard library's.
        self._command = [sys.executable, "-P", str(_HANDLERS), handler, *arguments]
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(_HANDLERS.with_name("stand_ins")),
            **environ,
        }

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def said(self) -> list[str]:
        """The handlers' reports, in order."""
        return [line[2:].rstrip("\n") for line in list(self.lines) if line.startswith("@ ")]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit status, with its whole output. Raises `subprocess.TimeoutExpired`."""
        status = self._process.wait(seconds)
        if status >= 0:  # after a signal, its heartbeat lives on, and keeps the output open
            self._reader.join(PATIENCE)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self.lines.append(line)
