"""Spans cost nothing if nobody asked for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, sys
import router.commands.serve
from router.app.configuration import Configuration
from router.app.worker import Worker
Worker(Configuration.read(os.environ))
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.process
@pytest.mark.parametrize("traced", [False, True])
def test_opentelemetry_is_imported_for_a_collector_alone(
    tmp_path: Path, *, traced: bool
) -> None:
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"} if traced else {}
    environ = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path), **collector}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(traced)
