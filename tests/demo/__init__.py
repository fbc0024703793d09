"""`make demo`: the worker's main job, shown on any machine: no GPU, no network, no token."""

from __future__ import annotations

import io
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests import tiny_models
from tests.demo.cast import MODELS
from tests.demo.interrupts import Interrupts
from tests.demo.play import play
from tests.demo.transcript import Transcript
from tests.loopback_hub.contents import Files
from tests.worker import ROOT

_SGLANG = ROOT / ".venv-sglang" / "bin" / "python"


def main(*, keep: bool, engine_python: Path = _SGLANG) -> int:
    """Show it with the real SGLang; the exit status is 0 only if all went as it should."""
    if not engine_python.exists():
        print(f"There is no {engine_python}: `make demo` makes it.", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a tick
    with tempfile.TemporaryDirectory(prefix="demo-models-") as folder:
        files = {model.name: tiny_models.make(Path(folder), model.name) for model in MODELS}
        return show(files, engine_python, keep=keep)


def show(files: Mapping[str, Files], engine_python: Path, *, keep: bool = False) -> int:
    """The demo with these models' files, by the models' names, and this engine."""
    transcript = Transcript()
    began = time.perf_counter()
    try:
        with Interrupts() as interrupts:
            play(files, engine_python, transcript, interrupts, keep=keep)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.perf_counter() - began
    result = f"{transcript.passed} checks passed, {transcript.failed} failed"
    phases = ", ".join(transcript.phases)
    transcript.say(f"\n{result}; {seconds:.0f} s ({phases}).")
    return 1 if transcript.failed else 0
