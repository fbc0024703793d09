"""The README's examples run unchanged, except for the port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.harness import Harness
from tests.worker import ROOT, Worker

SMALL, LARGER, GATED = (
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-1.7B",
    "meta-llama/Llama-3.2-1B-Instruct",
)


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    harness.model(SMALL)
    harness.model(LARGER)
    harness.model(GATED, gated=True)
    with harness.worker() as worker:
        yield worker


def examples(language: str, worker: Worker) -> list[str]:
    text = (ROOT / "README.md").read_text().replace("http://127.0.0.1:8000", worker.url)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(command: list[str], **environ: str) -> str:
    environ |= {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_gets_an_answer(worker: Worker) -> None:
    (line,) = (text for text in examples("", worker) if text.startswith(f"curl {worker.url}"))
    assert f"I am {SMALL}" in run(["sh", "-c", line])


def test_the_python_examples_get_answers(harness: Harness, worker: Worker) -> None:
    token = harness.hub.add_account("reader")
    harness.hub.accept(GATED, "reader")
    program = "\n".join(examples("python", worker))
    said = run([sys.executable, "-c", program], HF_TOKEN=token)
    assert said == f"I am {SMALL}I am {LARGER}"
    (request,) = harness.journal.events("request", GATED)
    assert token not in str(request)
