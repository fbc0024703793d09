"""The RunPod examples work: real SDK, loopback platform, fake engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform.public_api import PublicApi
from tests.worker import ROOT

PUBLIC, PRIVATE = "acme/public", "acme/private"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The variables that a user sets, except the model."""
    with LoopbackHub() as hub:
        harness = QueueHarness(hub, tmp_path_factory.mktemp("harness"))
        harness.model(PUBLIC, answer="I am public.")
        harness.model(PRIVATE, answer="I am private.", private=True)
        with harness.endpoint() as endpoint:
            api = PublicApi(endpoint.platform, "endpoint", key="a-key")
            try:
                yield {
                    "PATH": os.environ["PATH"],
                    "RUNPOD_API": api.url,
                    "ENDPOINT": "endpoint",
                    "RUNPOD_KEY": "a-key",
                    "OWNERS_TOKEN": hub.add_account("acme"),
                }
            finally:
                api.stop()


def run(command: list[str], environ: Mapping[str, str]) -> str:
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def script(name: str) -> str:
    return str(Path("examples", name))


def test_the_shell_script_prints_the_job(environ: Mapping[str, str]) -> None:
    job = json.loads(run(["sh", script("runpod_request.sh")], {**environ, "MODEL": PUBLIC}))
    assert job["status"] == "COMPLETED"
    assert job["output"][0]["choices"][0]["message"]["content"] == "I am public."


def test_the_python_script_prints_the_answer(environ: Mapping[str, str]) -> None:
    python = [sys.executable, script("runpod_request.py")]
    assert run(python, {**environ, "MODEL": PUBLIC}) == "I am public.\n"


def test_the_python_script_sends_the_callers_token(environ: Mapping[str, str]) -> None:
    python = [sys.executable, script("runpod_request.py")]
    environ = {**environ, "MODEL": PRIVATE, "HF_TOKEN": environ["OWNERS_TOKEN"]}
    assert run(python, environ) == "I am private.\n"
