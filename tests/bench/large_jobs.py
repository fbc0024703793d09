"""`python -m tests.bench.large_jobs`: the cost of one large job for the streams next to it.

Uses the real SDK, a loopback platform and the fake engine. A stream of one token per 10 ms runs
all the time. Then comes one job of about 9.5 MB, or one whose answer is that large. The longest
gap in the stream shows how long the loops of the worker and of the platform were busy. For
comparison, it also measures the SDK's own `json.loads` of the job and `json.dumps` of the
answer.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.runpod import process
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform import Job, LoopbackPlatform

STEADY, WRITER, EMBEDDER = "bench/steady", "bench/writer", "bench/embedder"
LETTERS = 9_500_000
ROUNDS = 5


def main() -> int:
    text, words = "x" * LETTERS, "你 " * (LETTERS // 4)
    numbers = list(itertools.islice(itertools.cycle(range(100, 900)), LETTERS // 5))
    asked: dict[str, dict[str, Any]] = {
        "no job": {"model": STEADY, "prompt": "Hi", "max_tokens": 1},
        "a prompt of 9.5 MB": {"model": STEADY, "prompt": text, "max_tokens": 1},
        "a Chinese prompt of 9.5 MB": {"model": STEADY, "prompt": words, "max_tokens": 1},
        "9.5 MB of token ids": {"model": STEADY, "prompt": numbers, "max_tokens": 1},
        "an answer of 9.5 MB of text": {"model": WRITER, "prompt": "Hi"},
        "embeddings of 9.5 MB": {"model": EMBEDDER, "input": ["a"] * 700},
    }
    with tempfile.TemporaryDirectory() as name, _serving(Path(name)) as platform:
        for model in (STEADY, WRITER):
            platform.submit({"model": model, "prompt": "Hi", "max_tokens": 1}).wait(60)
        platform.submit({"model": EMBEDDER, "input": "a"}).wait(60)
        steady = platform.submit({"model": STEADY, "prompt": "Hi", "stream": True})
        print(f"{'':32}{'longest gap ms':>16}{'SDK ms':>8}{'job s':>8}{'ended':>18}")
        for what, job_input in asked.items():
            rows = sorted(_measure(platform, steady, job_input) for _ in range(ROUNDS))
            row = rows[ROUNDS // 2]
            print(
                f"{what:32}{row.gap * 1000:16.0f}{row.sdk * 1000:8.0f}{row.took:8.2f}"
                f"{row.ended:>18}",
                flush=True,
            )
        platform.cancel(steady)
    return 0


@dataclass(frozen=True, order=True)
class Row:
    """Seconds."""

    gap: float  # the longest in the stream during the job
    sdk: float  # JSON alone, in this process
    took: float
    ended: str


def _measure(platform: LoopbackPlatform, steady: Job, job_input: dict[str, Any]) -> Row:
    began = time.monotonic()
    job = platform.submit(job_input)
    outcome = job.wait(60)
    time.sleep(0.5)  # until the stream continues
    times = [chunk.at for chunk in steady.chunks if chunk.at > began - 0.1]
    code = json.loads(outcome.error)["error"]["code"] if outcome.error else outcome.status
    taken = json.dumps({"id": job.id, "input": job_input})
    start = time.perf_counter()
    json.loads(taken)
    json.dumps(outcome.posted, ensure_ascii=False).encode()
    return Row(
        gap=max(later - earlier for earlier, later in itertools.pairwise(times)),
        sdk=time.perf_counter() - start,
        took=outcome.at - began,
        ended=code,
    )


@contextmanager
def _serving(directory: Path) -> Iterator[LoopbackPlatform]:
    with LoopbackHub() as hub, LoopbackPlatform() as platform:
        hub.add_account("bench")
        for name, files in {
            STEADY: {FILE: behaviour(tokens=10**6, interval=0.01)},
            WRITER: {FILE: behaviour(answer="x" * LETTERS)},
            EMBEDDER: {FILE: behaviour(dimensions=1024), "modules.json": b"[]"},
        }.items():
            common = {
                "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
                "model.safetensors": bytes(1000),
            }
            hub.add_repo(name, files=common | files, owner="bench")
        environ = {
            **hub.environment(),
            **platform.environment(),
            "HF_HOME": str(directory / "hf"),
            "ENGINE_PYTHON": str(PYTHON),
            "MAX_LOADED_MODELS": "3",
        }
        with process([sys.executable, "-m", "router", "runpod"], environ, directory):
            yield platform


if __name__ == "__main__":
    sys.exit(main())
