"""Runs commands like an operator: in their own process, with a loopback Hub."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import tiny_models
from tests.fake_engine import PYTHON
from tests.loopback_hub import LoopbackHub

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds; only a hanging command takes so long


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def all(self) -> str:
        return self.out + self.err


@dataclass
class Operator:
    """A machine with the Hub's certificate, a cache, and a Python with SGLang."""

    hub: LoopbackHub
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.root / "cache" / "hub"

    def run(self, *arguments: str, **environ: str) -> Ended:
        done = subprocess.run(
            self._command(arguments),
            cwd=self.root,
            env=self._environment(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A running command. It is killed at the end of the block."""
        with subprocess.Popen(
            # A shell's background job ignores Ctrl-C, and so would all that it starts.
            ["env", "--default-signal=INT", *self._command(arguments)],
            cwd=self.root,
            env=self._environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, answers: str = "", **environ: str) -> Ended:
        """The same on a terminal, where `answers` are typed."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            self._command(arguments),
            cwd=self.root,
            env=self._environment({"TERM": "xterm", "COLUMNS": "120", **environ}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            if answers:
                os.write(ours, answers.encode())
            out = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        return Ended(process.returncode, out.decode().replace("\r\n", "\n"), "")

    def publish(self, repo_id: str, **how: Any) -> str:
        """Publish a chat model of 0.4 MB. Returns its commit."""
        folder = tiny_models.make(self.root / "made", repo_id.rpartition("/")[2])
        return self.hub.add_repo(repo_id, folder, **how)

    def file(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "router", *arguments]

    def _environment(self, environ: dict[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root / "home"),
            "HF_HOME": str(self.root / "cache"),
            "BAKED_MODELS": str(self.root / "baked"),
            "BASE_PATH": str(self.root / "volume"),
            "ENGINE_PYTHON": str(PYTHON),
            "CUDA_VISIBLE_DEVICES": "",
            **self.hub.environment(),
            **self.environ,
            **environ,
        }


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other end is closed
        return b""
