"""`python -m tests.bench.runpod`: this worker, one of the old shape, and the SDK alone, each on
its own queue.

All use the same fake engine (20 tokens, 20 ms apart), the same loopback platform and the real
SDK, one worker after another in one run. Jobs are streamed chats, sent at once. CPU time is
that of the worker's process, without its engine.
"""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import cpu_time
from tests.fake_engine import PYTHON, behaviour
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform import LoopbackPlatform
from tests.servable import servable
from tests.worker import ROOT

JOBS = (1, 16, 64)
MODEL = "bench/model"
FILES = {
    **servable(),
    "model.safetensors": bytes(1000),
    "tokenizer.fake_engine.json": behaviour(tokens=20, interval=0.02),
}
WHOLE = {"messages": [{"role": "user", "content": "Hi"}]}
CHAT = {"stream": True, **WHOLE}
OLD = Path(__file__).with_name("old_shape.py")
ALONE = Path(__file__).with_name("sdk_alone.py")


@dataclass(frozen=True)
class Row:
    """Seconds, except `rate`: jobs per second."""

    rate: float
    first: float  # from submission to first chunk; median over jobs
    gap: float  # between two chunks of a job; median
    longest: float  # gap; median over the jobs
    cpu: float  # of the worker, per job


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        heads = ("jobs/s", "first s", "gap ms", "longest", "CPU ms")
        print(f"{'':8}{'jobs':>6}" + "".join(f"{head:>9}" for head in heads))
        for kind, serving in (("old", _old), ("SDK", _alone), ("router", _ours)):
            with serving(directory) as (platform, pid):
                platform.submit(CHAT).wait(60)  # the first one is different
                for jobs in JOBS:
                    row = _measure(platform, jobs, pid)
                    print(
                        f"{kind:8}{jobs:6}{row.rate:9.2f}{row.first:9.2f}"
                        f"{row.gap * 1000:9.1f}{row.longest * 1000:9.0f}{row.cpu * 1000:9.1f}",
                        flush=True,
                    )
                if kind != "old":
                    cpu = _cpu_of_whole(platform, JOBS[-1], pid)
                    print(f"{kind:8}{JOBS[-1]:6} whole answers{cpu:40.1f}", flush=True)
    return 0


def _cpu_of_whole(platform: LoopbackPlatform, count: int, pid: int) -> float:
    """CPU time of the worker per job whose answer is one piece, in milliseconds."""
    for job in [platform.submit(WHOLE) for _ in range(count)]:  # the first ones are different
        job.wait(300)
    spent = cpu_time([pid])
    for job in [platform.submit(WHOLE) for _ in range(count)]:
        job.wait(300)
    return (cpu_time([pid]) - spent) / count * 1000


def _measure(platform: LoopbackPlatform, count: int, pid: int) -> Row:
    spent, began = cpu_time([pid]), time.monotonic()
    jobs = [platform.submit(CHAT) for _ in range(count)]
    ended = max(job.wait(300).at for job in jobs)
    spent = cpu_time([pid]) - spent
    arrivals = [[chunk.at for chunk in job.chunks] for job in jobs]
    gaps = [[b - a for a, b in itertools.pairwise(times)] or [0.0] for times in arrivals]
    return Row(
        rate=count / (ended - began),
        first=statistics.median(times[0] - began for times in arrivals),
        gap=statistics.median(gap for job in gaps for gap in job),
        longest=statistics.median(max(job) for job in gaps),
        cpu=spent / count,
    )


@contextmanager
def _ours(directory: Path) -> Iterator[tuple[LoopbackPlatform, int]]:
    with LoopbackHub() as hub, LoopbackPlatform() as platform:
        hub.add_account("bench")
        hub.add_repo(MODEL, files=FILES, owner="bench")
        environ = {
            **hub.environment(),
            **platform.environment(),
            "HF_HOME": str(directory / "hf"),
            "ENGINE_PYTHON": str(PYTHON),
            "MODEL_NAME": MODEL,
        }
        with process([sys.executable, "-m", "router", "runpod"], environ, directory) as pid:
            yield platform, pid


@contextmanager
def _alone(directory: Path) -> Iterator[tuple[LoopbackPlatform, int]]:
    with LoopbackPlatform() as platform:
        environ = {**platform.environment(), "RUNPOD_LOG_LEVEL": "INFO"}
        with process([sys.executable, "-P", str(ALONE)], environ, directory) as pid:
            yield platform, pid


@contextmanager
def _old(directory: Path) -> Iterator[tuple[LoopbackPlatform, int]]:
    model = directory / "model"
    model.mkdir()
    for name, content in FILES.items():
        (model / name).write_bytes(content)
    file = model / "tokenizer.fake_engine.json"
    file.write_bytes(behaviour(tokens=20, interval=0.02, without_lock=True))
    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])
    reads, writes = os.pipe()
    os.close(writes)  # no key
    passed = (listener.fileno(), reads)
    url = f"http://127.0.0.1:{port}"
    engine = [str(PYTHON), "entry.py", ",".join(map(str, passed)), "sglang.launch_server"]
    engine += ["--model-path", str(model), "--host", "127.0.0.1", "--port", port]
    with (
        LoopbackPlatform() as platform,
        process(engine, {}, directory, passed),
        process(
            [sys.executable, "-P", str(OLD)],
            {**platform.environment(), "RUNPOD_LOG_LEVEL": "INFO", "ENGINE_URL": url},
            directory,
        ) as pid,
    ):
        _wait_for(f"{url}/ready")
        yield platform, pid


@contextmanager
def process(
    command: list[str], environ: Mapping[str, str], home: Path, files: Sequence[int] = ()
) -> Iterator[int]:
    """Start a process, and return its id. `files`: descriptors that it inherits."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        pass_fds=files,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # the old shape waits for its long polls
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise TimeoutError(url)


if __name__ == "__main__":
    sys.exit(main())
