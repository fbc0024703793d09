"""The ways from a caller to one engine: none, a pass-through, this router, a former one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.engine import PYTHON
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import ROOT, Worker

CHAT = "/v1/chat/completions"
PUBLIC = "bench/model"
GATED = "bench/gated"
_FILES = {
    **servable(),
    "model.safetensors": bytes(1000),
}


@dataclass(frozen=True, slots=True)
class Way:
    name: str
    url: str
    pid: int | None  # the process in between


@dataclass(frozen=True, slots=True)
class Ways:
    ways: tuple[Way, ...]
    token: str  # of a caller that `GATED` is open to


@contextmanager
def open_ways(directory: Path, checkouts: Mapping[str, Path]) -> Iterator[Ways]:
    """Start everything, both models warm. `checkouts` are the routers, by name."""
    with ExitStack() as stack:
        hub = stack.enter_context(LoopbackHub())
        hub.add_account("bench")
        hub.add_repo(PUBLIC, _FILES, owner="bench")
        hub.add_repo(GATED, _FILES, owner="bench", gated="auto")
        token = hub.add_account("caller")
        hub.accept(GATED, "caller")

        def router(name: str, checkout: Path) -> Way:
            environ = {
                **hub.environment(),
                "ENGINE_PYTHON": str(PYTHON),
                "MODEL_NAME": PUBLIC,
                "MAX_LOADED_MODELS": "2",
                "MAX_CONCURRENCY": "256",
                "PYTHONHASHSEED": "0",  # else two starts of the same code differ
            }
            worker = Worker(directory / name, environ)
            worker.cwd = checkout  # its code, with the packages that are installed here
            stack.enter_context(worker)
            ask(worker.url, PUBLIC, {})
            ask(worker.url, GATED, {"X-HF-Token": token})
            workers.append(worker)
            return Way(name, worker.url, worker.pid)

        workers: list[Worker] = []
        routers = [router(name, checkout) for name, checkout in checkouts.items()]
        engine = engine_of(workers[0])
        between = stack.enter_context(_pass_through(engine))
        yield Ways((Way("direct", engine, None), between, *routers), token)


def ask(url: str, model: str, headers: Mapping[str, str]) -> None:
    """One request, which starts the model's engine where none runs."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
    sent = {"Content-Type": "application/json", **headers}
    with urllib.request.urlopen(urllib.request.Request(url + CHAT, body.encode(), sent)) as got:
        got.read()


@contextmanager
def _pass_through(engine: str) -> Iterator[Way]:
    command = [sys.executable, "-m", "tests.bench.pass_through", engine]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        try:
            yield Way("pass-through", said.readline().split()[-1], process.pid)
        finally:
            process.kill()
            process.wait()


def engine_of(worker: Worker) -> str:
    """The own address of one of a worker's engines, off its command line."""
    for pid in worker.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--port" in words:
            port = words[words.index(b"--port") + 1].decode()
            if re.fullmatch(r"\d+", port):
                return f"http://127.0.0.1:{port}"
    raise RuntimeError("no engine is running")
