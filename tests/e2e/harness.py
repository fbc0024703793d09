"""Fixtures of end-to-end tests: a Hub, models whose engines behave as told, workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.fake_engine import FILE, PYTHON, behaviour
from tests.fake_engine.behaviour import whole_lines
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import Worker

Event = dict[str, Any]
W = TypeVar("W", bound=Worker)

# A generation that outlasts every test.
ENDLESS: dict[str, Any] = {"tokens": 100_000, "interval": 0.01}
VOCABULARY = 1000  # tokens of every model here


class Harness:
    def __init__(self, hub: LoopbackHub, directory: Path) -> None:
        self.hub = hub
        self.journal = Journal(directory / "journal")
        self.workers: list[Worker] = []
        self._directory = directory

    def model(
        self,
        name: str,
        *,
        private: bool = False,
        gated: bool = False,
        architecture: str = "LlamaForCausalLM",
        further: tuple[str, ...] = (),
        **engine: Any,
    ) -> str:
        """Put a model on the Hub. Its organization owns it; `engine` is its behavior."""
        files = {
            **servable(architectures=[architecture], vocab_size=VOCABULARY),
            "model.safetensors": name.encode().ljust(1000),
            FILE: behaviour(journal=str(self.journal.path), **engine),
            **{name: b"[]" if name == "modules.json" else b"{}" for name in further},
        }
        self.hub.add_repo(name, files, private=private, gated="auto" if gated else False)
        return name

    def new_worker(self, **environ: str) -> Worker:
        """Make a worker, but don't start it. It never uses a real GPU."""
        return self.add(Worker, environ)

    def add(self, kind: type[W], environ: Mapping[str, str]) -> W:
        worker = kind(
            self._directory / f"worker-{len(self.workers) + 1}",
            {
                **self.hub.environment(),
                "ENGINE_PYTHON": str(PYTHON),
                "CUDA_VISIBLE_DEVICES": "",
                "SWAP_PATIENCE": "0",
                **environ,
            },
        )
        self.workers.append(worker)
        return worker

    @contextmanager
    def worker(self, **environ: str) -> Iterator[Worker]:
        """Run a worker that must stop cleanly at the end."""
        with self.new_worker(**environ) as worker:
            yield worker
            status = worker.stop()
            assert (status, worker.processes()) == (0, []), worker.log
            assert "Traceback" not in worker.log, worker.log


class Journal:
    """The commands and requests that engines received, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self, kind: str, model: str) -> list[Event]:
        """The events of all engines of this model."""
        engines = {event["pid"] for event in self._read() if _starts(event, model)}
        return [e for e in self._read() if e["event"] == kind and e["pid"] in engines]

    def engine(self, model: str) -> int:
        """The process id of the model's latest engine."""
        pid: int = self.events("start", model)[-1]["pid"]
        return pid

    def kill_engine(self, model: str) -> None:
        os.kill(self.engine(model), signal.SIGKILL)

    def _read(self) -> list[Event]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in whole_lines(self.path.read_bytes())]


def _starts(event: Event, model: str) -> bool:
    return event["event"] == "start" and model in event["argv"]
