"""`python -m tests.bench.soak [SECONDS]`: what a worker holds after more and more requests.

A worker and its HTTP server in this process, under load for SECONDS: 32 callers of whole
answers, and 64 streams that open and end in each tenth of the time. Memory, open files, threads
and tasks are read after each tenth, when nothing is in progress.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import uvloop

from router import logs
from router.app.configuration import Configuration
from router.app.worker import Worker
from router.http.server import HttpServer
from tests.bench import client, wrk
from tests.bench.engine import PYTHON
from tests.bench.processes import descriptors, resident, threads
from tests.bench.products import API_KEY, STREAMING, WHOLE
from tests.bench.ways import CHAT, caller_headers, gated_hub

_PARTS = 10
_CALLERS, _STREAMS = 32, 64
_PAUSE = 5.5  # seconds until connections that nobody uses are closed


async def _soak(seconds: int, directory: Path) -> None:
    with gated_hub() as hub, (directory / "log").open("w") as log:
        headers = caller_headers(hub)
        environ = {
            **hub.environment(),
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "HF_HOME": str(directory / "hf"),
            "BAKED_MODELS": str(directory / "models"),
            "BASE_PATH": str(directory / "volume"),
            "ENGINE_PYTHON": str(PYTHON),
            "MAX_LOADED_MODELS": "2",
            "MAX_CONCURRENCY": "2048",
            "API_KEYS": API_KEY,
        }
        configuration = Configuration.read(environ)
        redactor = logs.configure("INFO", "text", configuration.secrets_and_keys, log)
        worker = Worker(configuration, redactor=redactor)
        async with worker.open() as service:
            server = HttpServer(service, keys=worker.keys, recorder=worker.recorder)
            port = await server.start("127.0.0.1", 0)
            load = _Load(f"http://127.0.0.1:{port}{CHAT}", headers, directory)
            await load.some(2)
            print(f"{'requests':>12}{'MB':>8}{'files':>8}{'threads':>10}{'tasks':>8}")
            for _ in range(_PARTS):
                await load.some(max(1, seconds // _PARTS))
                await asyncio.sleep(_PAUSE)
                _tell(worker.recorder.activity.total)
            await server.stop(1.0)
            await worker.drain()


def _tell(requests: int) -> None:
    gc.collect()
    pid, tasks = os.getpid(), len(asyncio.all_tasks())
    held = resident([pid]) / 1e6
    print(
        f"{requests:12,}{held:8.1f}{descriptors(pid):8}{threads(pid):10}{tasks:8}", flush=True
    )


class _Load:
    def __init__(self, url: str, headers: Mapping[str, str], directory: Path) -> None:
        self._url, self._headers = url, headers
        self._script = wrk.script(directory, _body(WHOLE), headers)

    async def some(self, seconds: int) -> None:
        body = _body(STREAMING, stream=True)
        async with client.streams(self._url, body, _STREAMS, self._headers):
            if wrk.find() is not None:
                await wrk.load(self._url, self._script, _CALLERS, seconds)
            else:
                await client.load(self._url, _body(WHOLE), _CALLERS, seconds, self._headers)


def _body(model: str, **fields: object) -> bytes:
    content = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return json.dumps(content, separators=(",", ":")).encode()


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 180
    with tempfile.TemporaryDirectory() as name:
        uvloop.run(_soak(seconds, Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
