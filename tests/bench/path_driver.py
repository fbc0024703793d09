"""Drives a checkout's service like its HTTP server, and prints its CPU time, for
`tests.bench.path`. It imports only the router's packages, so it can drive a former checkout
too."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from router import logs
from router.app.configuration import Configuration
from router.app.worker import Worker
from router.requests.record import Record
from router.requests.request import Request
from router.requests.service import Service
from tests.bench.engine import PYTHON
from tests.bench.products import API_KEY, WHOLE
from tests.bench.ways import CHAT, caller_headers, gated_hub

EVERYTHING, NO_LOG, NOTHING = "everything", "no log", "no records"
_CALLERS, _REQUESTS = 32, 1600  # at once, and per measurement
_ID = "0123456789abcdef0123456789abcdef"


async def drive(what: str) -> None:
    """Report when it is warm. Then measure once per line of standard input."""
    with gated_hub() as hub, tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        token = caller_headers(hub)["X-HF-Token"]
        environ = {
            **hub.environment(),
            "PATH": os.environ["PATH"],
            "HOME": name,
            "HF_HOME": f"{name}/hf",
            "BAKED_MODELS": f"{name}/models",
            "BASE_PATH": f"{name}/volume",
            "ENGINE_PYTHON": str(PYTHON),
            "MAX_CONCURRENCY": "2048",
            "API_KEYS": API_KEY,
        }
        configuration = Configuration.read(environ)
        log = stack.enter_context(Path(os.devnull).open("w"))  # noqa: ASYNC230 - nothing else runs
        level = "WARNING" if what == NO_LOG else "INFO"
        redactor = logs.configure(level, "text", configuration.secrets_and_keys, log)
        worker = Worker(configuration, redactor=redactor)
        async with worker.open() as service:
            caller = _Caller(worker, service, token, recorded=what != NOTHING)
            await caller.ask(100)
            gc.collect()
            gc.freeze()
            print(0.0, flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                began = time.process_time()
                each = _REQUESTS // _CALLERS
                await asyncio.gather(*(caller.ask(each) for _ in range(_CALLERS)))
                print((time.process_time() - began) / _REQUESTS * 1e6, flush=True)
            await worker.drain()


class _Caller:
    """A caller with an API key and a token. `recorded`: requests are listed, counted and
    logged."""

    def __init__(self, worker: Worker, service: Service, token: str, *, recorded: bool) -> None:
        self._recorder, self._keys = worker.recorder, worker.keys
        self._service, self._token, self._recorded = service, token, recorded
        content = {"model": WHOLE, "messages": [{"role": "user", "content": "Hi"}]}
        self._body = json.dumps(content, separators=(",", ":")).encode()

    async def ask(self, times: int) -> None:
        """Send requests one after another."""
        for _ in range(times):
            caller = self._keys.caller([API_KEY])
            if self._recorded:
                record = self._recorder.open(CHAT, request_id=_ID, chosen=False)
                record.is_from(caller, self._keys.name(caller))
            else:
                record = Record(CHAT)
            await self._ask(caller, record)
            if self._recorded:
                self._recorder.close(record)

    async def _ask(self, caller: str, record: Record) -> None:
        request = Request(CHAT, self._body, hf_token=self._token, caller=caller, record=record)
        async with self._service.open(request) as response:
            async for _ in response:
                pass
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {response.failure}")
            record.answer(response.status, response.failure, streams=response.streams)


if __name__ == "__main__":
    uvloop.run(drive(sys.argv[1]))
