"""The cost of one hostile caller to the others: `python -m tests.bench.hostile [SHAPE ...]`.

    --megabytes N     of each hostile body; by default 31, 1 and 0.05 in turn
    --connections N   of the hostile caller, each at full speed
    --seconds N       for each shape

The worker has two API keys. The hostile caller repeats one shape with one key. A well-behaved
caller sends short requests to a loaded model with the other key, and pings. `idle` is without
the hostile caller. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.bench.shapes import CHAT, SHAPES
from tests.e2e.caller import chat
from tests.e2e.harness import Harness
from tests.loopback_hub import LoopbackHub

MODEL = "acme/model"
HOSTILE, GOOD = "hostile-key-1", "good-key-1"
EVERY = 0.01  # seconds between two pings
IDLE = "idle"
SIZES = (31.0, 1.0, 0.05)  # MB


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.hostile")
    parser.add_argument("shapes", nargs="*", default=[IDLE, *SHAPES])
    parser.add_argument("--megabytes", type=float, nargs="*", default=SIZES)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        harness = Harness(hub, Path(directory))
        harness.model(MODEL)
        with harness.worker(API_KEYS=f"{HOSTILE},{GOOD}") as worker:
            asyncio.run(_run(worker.url, args))
    return 0


async def _run(url: str, args: argparse.Namespace) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        bench = Bench(session, url, args.connections)
        await bench.chat()
        print(
            f"{'shape':20} {'MB':>6} {'sent':>6}   /ping p50  p99   max   chat p50  p99   max"
        )
        for name in args.shapes:
            for size in (0.0,) if name == IDLE else args.megabytes:
                await bench.measure(name, int(size * 1e6), args.seconds)


@contextmanager
def attacked(url: str, name: str, size: int, connections: int) -> Iterator[Callable[[], int]]:
    """Repeat one shape from another process. Yields how many were answered."""
    if name == IDLE:
        yield lambda: 0
        return
    context = multiprocessing.get_context("spawn")
    count = context.Value("q", 0)
    process = context.Process(target=_attack, args=(url, name, size, connections, count))
    process.start()
    try:
        time.sleep(1.0)  # it builds the body
        yield lambda: int(count.value)
    finally:
        process.kill()
        process.join()


def _attack(url: str, name: str, size: int, connections: int, count: Any) -> None:
    address = urlsplit(url).netloc
    route, made = SHAPES[name]
    body = made(size)
    headers = {"Authorization": f"Bearer {HOSTILE}", "Content-Type": "application/json"}

    def repeat() -> None:
        while True:
            connection = http.client.HTTPConnection(address)
            with suppress(OSError, http.client.HTTPException):  # refused before it was read
                while True:
                    connection.request("POST", route, body, headers)
                    connection.getresponse().read()
                    with count.get_lock():
                        count.value += 1
            connection.close()

    for _ in range(connections):
        threading.Thread(target=repeat).start()


class Bench:
    def __init__(self, session: aiohttp.ClientSession, url: str, connections: int) -> None:
        self._session, self._url, self._connections = session, url, connections

    async def measure(self, name: str, size: int, seconds: float) -> None:
        with attacked(self._url, name, size, self._connections) as sent:
            pings, chats = await asyncio.gather(
                _times(self.ping, seconds), _times(self.chat, seconds)
            )
        row = "  ".join(f"{_at(pings, p):6.1f}" for p in (0.5, 0.99, 1.0))
        other = "  ".join(f"{_at(chats, p):6.1f}" for p in (0.5, 0.99, 1.0))
        print(f"{name:20} {size / 1e6:6.2f} {sent():6} {row} {other}", flush=True)

    async def ping(self) -> None:
        async with self._session.get(f"{self._url}/ping") as answer:
            assert answer.status == 200

    async def chat(self) -> None:
        headers = {"Authorization": f"Bearer {GOOD}"}
        sent = self._session.post(self._url + CHAT, json=chat(MODEL), headers=headers)
        async with sent as answer:
            assert answer.status == 200, await answer.read()
            await answer.read()


async def _times(ask: Callable[[], Awaitable[None]], seconds: float) -> list[float]:
    """The duration of each call, sorted, in milliseconds."""
    took, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await ask()
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(EVERY)
    return sorted(took)


def _at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


if __name__ == "__main__":
    sys.exit(main())
