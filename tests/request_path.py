"""Lists the files that a warm streamed request passes through: `python -m tests.request_path`.

Warm: the model is loaded, and the caller was authorized within the last minute. A file counts
if one of its functions is called. Files of shared values, which every room may import, do not
count.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType

import aiohttp

from router.app.configuration import Configuration
from router.app.worker import Worker
from router.http.server import HttpServer
from tests.e2e.harness import Harness
from tests.fake_engine import PYTHON
from tests.loopback_hub import LoopbackHub

ROOT = Path(__file__).parents[1]
VALUES = (
    "router/config/",
    "router/models.py",
    "router/errors.py",
    "router/secrets.py",
    "router/clock.py",
    "router/scheduler/state.py",
    "router/scheduler/events.py",
)
REQUESTS = 20  # many: on a slow machine, most last longer than a tick


@contextmanager
def traced() -> Iterator[list[str]]:
    """The files of the router and the engines whose functions are called, call by call."""
    files: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            files.append(frame.f_code.co_filename)

    found: list[str] = []
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        own = [file.removeprefix(f"{ROOT}/") for file in files]
        found += [file for file in own if file.startswith(("router/", "engines/"))]


def passed(calls: list[str]) -> list[str]:
    """The files that count, in the order in which the request reaches them."""
    return list(dict.fromkeys(file for file in calls if not file.startswith(VALUES)))


async def trace(directory: Path) -> list[str]:
    """The calls of a warm streamed request, by file.

    Of several traces, returns the shortest: a tick of the pool or of the clock may add calls.
    """
    with LoopbackHub() as hub:
        harness = Harness(hub, directory)
        environ = {
            **hub.environment(),
            "HOME": str(directory),
            "HF_HOME": str(directory / "hf"),
            "BASE_PATH": str(directory / "volume"),
            "ENGINE_PYTHON": str(PYTHON),
        }
        body = {"model": harness.model("org/model"), "stream": True, "messages": []}
        body["messages"] = [{"role": "user", "content": "Hi"}]
        worker = Worker(Configuration.read(environ))
        async with worker.open() as service, aiohttp.ClientSession() as session:
            server = HttpServer(service)
            url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}/v1/chat/completions"
            try:
                runs = [await _one(session, url, body) for _ in range(REQUESTS + 1)]
            finally:
                await server.stop(1.0)
                await worker.drain()
    cold, *warm = runs
    if "router/pool/executor.py" not in cold:
        raise RuntimeError("the first request did not start an engine")
    return min(warm, key=len)


async def _one(session: aiohttp.ClientSession, url: str, body: object) -> list[str]:
    with traced() as calls:
        async with session.post(url, json=body) as response:
            content = await response.read()
    if response.status != 200 or b"[DONE]" not in content:
        raise RuntimeError(f"{response.status} {content!r}")
    return calls


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        calls = asyncio.run(trace(Path(directory)))
    for number, file in enumerate(passed(calls), 1):
        print(f"{number}. `{file}`")
    counted = [file for file in calls if not file.startswith(VALUES)]
    changes = sum(one != other for one, other in pairwise(counted))
    print(f"{changes} changes of file; {len(set(calls))} files with those of values")


if __name__ == "__main__":
    main()
