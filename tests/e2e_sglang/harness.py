"""Fixtures of these tests: some models, a worker that serves them, its real engines."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.loopback_hub import LoopbackHub
from tests.worker import Worker

APPLE = "tests/apple"  # says "I am apple."
PEAR = "tests/pear"  # embeds
PLUM = "tests/plum"  # says "I am plum.", and accepts pictures

PYTHON = Path(__file__).with_name("python")
PATIENCE = 600.0  # seconds for an answer: an engine may have to start, on a busy machine

Json = dict[str, Any]


def engines_below(directory: Path) -> dict[str, str]:
    """Settings for the real SGLang, for a worker in `directory`. The keys of its engines are
    saved there."""
    keys = directory / "keys"
    keys.mkdir(parents=True)
    return {"ENGINE_PYTHON": str(PYTHON), "SGLANG_TEST_KEYS": str(keys)}


@dataclass(frozen=True)
class Harness:
    worker: Worker
    hub: LoopbackHub
    ann: str = field(repr=False)  # tokens
    ben: str = field(repr=False)

    def engine(self, model: str) -> Engine:
        """The engine that runs for a model now."""
        [engine] = self.engines(model)
        return engine

    def engines(self, model: str) -> list[Engine]:
        return [
            Engine(pid, port := argv[argv.index("--port") + 1], self._key(port))
            for pid in self.worker.processes()
            if (argv := _command(pid))[3:4] == ["sglang.launch_server"]
            and argv[argv.index("--served-model-name") + 1] == model
        ]

    def _key(self, port: str) -> str:
        return (self.worker.directory / "keys" / port).read_text()


@dataclass(frozen=True)
class Engine:
    pid: int  # of SGLang's main process
    port: str
    key: str = field(repr=False)

    @property
    def signed(self) -> dict[str, str]:
        """The header with the key that it needs."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def running(self) -> int:
        """The number of running requests, according to the engine."""
        running: int = (await self._load())["num_running_reqs"]
        return running

    async def steps(self) -> float:
        """How often it has computed a further token of its answers, according to itself."""
        moments: list[float] = (await self._load())["decode_moments"] or [0.0]
        return moments[0]

    async def _load(self) -> Json:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/loads", headers=self.signed) as answer,
        ):
            load: Json
            (load,) = (await answer.json())["loads"]
        return load


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:  # it has ended
        return []
