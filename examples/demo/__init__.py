"""`make demo` shows the worker's main features on any machine, without GPU, network or
token."""

from __future__ import annotations

import io
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from examples.demo.accounts import MODELS
from examples.demo.interrupts import Interrupts
from examples.demo.transcript import Transcript
from examples.demo.walkthrough import walk_through
from tests import tiny_models
from tests.loopback_hub.contents import Files
from tests.worker import ROOT

_SGLANG = ROOT / ".venv-sglang" / "bin" / "python"


def main(*, keep: bool, engine_python: Path = _SGLANG) -> int:
    """Run the demo with the real SGLang. The exit status is 0 only if every check passed."""
    if not engine_python.exists():
        print(f"There is no {engine_python}. `make demo` creates it.", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # some terminals cannot print a check mark
    with tempfile.TemporaryDirectory(prefix="demo-models-") as folder:
        files = {model.name: tiny_models.make(Path(folder), model.name) for model in MODELS}
        return show(files, engine_python, keep=keep)


def show(files: Mapping[str, Files], engine_python: Path, *, keep: bool = False) -> int:
    """Run the demo with this engine. `files` maps a model's name to the model's files."""
    transcript = Transcript()
    began = time.perf_counter()
    try:
        with Interrupts() as interrupts:
            walk_through(files, engine_python, transcript, interrupts, keep=keep)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.perf_counter() - began
    result = f"{transcript.passed} checks passed, {transcript.failed} failed"
    phases = ", ".join(transcript.phases)
    transcript.say(f"\n{result}; {seconds:.0f} s ({phases}).")
    return 1 if transcript.failed else 0
