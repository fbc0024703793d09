"""`make bench`: what the router adds to a request for a model that is loaded.

Direct and through the router by turns, in one run, against the same fake engine: quote
the medians and the ratios, not one figure alone. Two cores are shared by the load
generator, the router and the engine, all of them in Python.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path

import uvloop

from tests.bench.client import Sample, load
from tests.fake_engine import PYTHON, behaviour
from tests.loopback_hub import LoopbackHub
from tests.worker import Worker

ROUNDS = 5
SECONDS = 2.0
CONCURRENCIES = (1, 32)
MODEL = "bench/model"
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()


def main() -> int:
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        hub.add_account("bench")
        files = {
            "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
            "model.safetensors": bytes(1000),
            "fake_engine.json": behaviour(),
        }
        hub.add_repo(MODEL, files=files, owner="bench")
        environ = {
            **hub.environment(),
            "ENGINE_PYTHON": str(PYTHON),
            "LOG_LEVEL": "INFO",
            "MODEL_NAME": MODEL,
        }
        with Worker(Path(directory), environ) as worker:
            _post(worker.url + CHAT)  # starts the engine
            return uvloop.run(_compare(_engine_of(worker), worker.url))


async def _compare(engine: str, router: str) -> int:
    for callers in CONCURRENCIES:
        direct, routed = [], []
        for _ in range(ROUNDS):
            direct.append(await load(engine + CHAT, BODY, callers, SECONDS))
            routed.append(await load(router + CHAT, BODY, callers, SECONDS))
        _show(callers, direct, routed)
    return 0


def _show(callers: int, direct: list[Sample], routed: list[Sample]) -> None:
    print(f"\n{callers} at a time, {ROUNDS} rounds of {SECONDS:g} s each, medians")
    print(f"{'':10}{'p50 ms':>10}{'p99 ms':>10}{'req/s':>10}")
    rows = []
    for name, samples in (("direct", direct), ("router", routed)):
        row = (
            statistics.median(s.median for s in samples) * 1000,
            statistics.median(s.p99 for s in samples) * 1000,
            statistics.median(s.rate for s in samples),
        )
        rows.append(row)
        print(f"{name:10}{row[0]:10.3f}{row[1]:10.2f}{row[2]:10.0f}")
    (before, _, full), (after, _, through) = rows
    print(f"added p50: {after - before:.3f} ms; of the direct rate: {through / full:.0%}")


def _post(url: str) -> None:
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, BODY, headers)) as answer:
        answer.read()


def _engine_of(worker: Worker) -> str:
    """The engine's own address, off the command line of a process below the worker."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"--port" in words and str(worker.directory).encode() in environ:
            port = words[words.index(b"--port") + 1].decode()
            if re.fullmatch(r"\d+", port):
                return f"http://127.0.0.1:{port}"
    raise RuntimeError("no engine is running")


if __name__ == "__main__":
    sys.exit(main())
