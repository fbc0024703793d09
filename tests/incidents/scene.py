"""A worker with an incident, and an operator who looks at it.

The `transcript` keeps what the operator sees; docs/operations.md quotes it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.worker import ROOT, Worker

_PATIENCE = 120  # seconds; only a hanging command takes so long
_STAMP = re.compile(r"^\S+ (?=[A-Z]+ )")  # of a line of the log


@dataclass
class Scene:
    harness: Harness
    worker: Worker
    key: str
    environ: Mapping[str, str]
    transcript: list[str] = field(default_factory=list)

    async def run(self, *arguments: str, code: int = 0) -> str:
        """`model-router ...`, as the operator types it on the worker's machine."""
        command = [sys.executable, "-m", "router", *arguments]
        environ = {
            **self.environ,
            "MODEL_ROUTER_URL": self.worker.url,
            "ADMIN_API_KEY": self.key,
        }
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        self._show(f"$ model-router {' '.join(arguments)}", done.stdout + done.stderr)
        assert done.returncode == code, done.stderr
        assert self.key not in self.transcript[-1]
        return done.stdout

    async def until_log(self, words: str) -> str:
        """Wait for a line of the worker's log with these words, and return it."""
        await eventually(lambda: words in self.worker.log)
        line = next(one for one in self.worker.log.splitlines() if words in one)
        self._show("", _STAMP.sub("", line))
        return line

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        headers = {"x-api-key": self.key}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.worker.url}/metrics", headers=headers) as answer,
        ):
            assert answer.status == 200
            text = await answer.text()
        found = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(one.value for one in found)

    def _show(self, head: str, text: str) -> None:
        self.transcript.append("\n".join(filter(None, (head, text.rstrip()))))


@contextmanager
def scene(harness: Harness, **environ: str) -> Iterator[Scene]:
    """A new worker that must stop cleanly at the end."""
    key = secrets.token_hex(16)
    with harness.worker(ADMIN_API_KEY=key, STANDBY_ENGINES="0", **environ) as worker:
        yield Scene(harness, worker, key, worker.environ)
