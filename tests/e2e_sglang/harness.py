"""What these tests use: three models, a worker that serves them, its real engines."""

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
PLUM = "tests/plum"  # says "I am plum.", and can be shown pictures

Json = dict[str, Any]


@dataclass(frozen=True)
class Harness:
    worker: Worker
    hub: LoopbackHub
    ann: str = field(repr=False)  # tokens
    ben: str = field(repr=False)

    def engine(self, model: str) -> Engine:
        """The one that runs for a model now."""
        [engine] = self.engines(model)
        return engine

    def engines(self, model: str) -> list[Engine]:
        return [
            Engine(pid, int(argv[argv.index("--port") + 1]))
            for pid in self.worker.processes()
            if (argv := _command(pid))[1:3] == ["-m", "sglang.launch_server"]
            and argv[argv.index("--served-model-name") + 1] == model
        ]


@dataclass(frozen=True)
class Engine:
    pid: int  # of SGLang's main process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def running(self) -> int:
        """How many requests it is at, as it says itself."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/loads") as answer,
        ):
            loads: list[Json] = (await answer.json())["loads"]
        return sum(load["num_running_reqs"] for load in loads)


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:  # it has ended
        return []
