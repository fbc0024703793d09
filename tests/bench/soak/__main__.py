"""`python -m tests.bench.soak [MINUTES] [--rate N] [--trace]`: what must not grow over time.

A worker in its own process serves callers of every kind at a fixed rate: whole answers and
streams, on kept and on new connections, with few tokens and with new ones; callers that leave
during an answer, a start or their own body; bad requests; models that must be started; an
operator that watches. At the end of each minute, all callers pause, unused connections close,
and the script prints what the process holds.

`--trace` also prints the lines of code that hold more than after the first minute. It makes the
worker slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.engine import PYTHON
from tests.bench.processes import cpu_time
from tests.bench.products import API_KEY, STREAMING, WHOLE
from tests.bench.soak.callers import ADMIN_KEY, Callers
from tests.bench.ways import ask, warm_streams
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import Worker

LISTED, COLD, TOKENS = 2000, 40, 30_000
MINUTE, REST = 60.0, 7.0  # seconds; unused connections close after five
_FILES = {**servable(), "model.safetensors": bytes(1000)}
_MOST_TYPES = 25


def main() -> int:
    parser = argparse.ArgumentParser("tests.bench.soak")
    parser.add_argument("minutes", type=int, nargs="?", default=30)
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tokens = [hub.add_account("caller") for _ in range(TOKENS)]
        cold = [f"bench/cold-{number}" for number in range(COLD)]
        for model in (WHOLE, STREAMING, *cold):
            hub.add_repo(model, _FILES, gated="auto")
            hub.accept(model, "caller")
        worker = _Observed(hub, directory, traced=args.trace)
        with worker:
            headers = {"X-HF-Token": tokens[0], "Authorization": f"Bearer {API_KEY}"}
            ask(worker.url, WHOLE, headers)
            warm_streams(worker.url, headers)
            try:
                asyncio.run(_soak(worker, tokens, cold, args))
            except BaseException:
                print("".join(worker.lines[-50:]))
                raise
    return 0


class _Observed(Worker):
    def __init__(self, hub: LoopbackHub, directory: Path, *, traced: bool) -> None:
        models = directory / "models.yaml"
        models.write_text("".join(f"- model: many/m{n}\n" for n in range(LISTED)))
        environ = {
            **hub.environment(),
            "MODELS_CONFIG": str(models),
            "ENGINE_PYTHON": str(PYTHON),
            "MAX_LOADED_MODELS": "4",
            "MAX_CONCURRENCY": "2048",
            "HUB_REQUESTS": "1000000",
            "API_KEYS": API_KEY,
            "ADMIN_API_KEY": ADMIN_KEY,
        }
        super().__init__(directory / "worker", environ)
        self._socket = str(directory / "observed")
        self.program = [sys.executable, "-m", "tests.bench.soak.observed", self._socket]
        if traced:
            self.program.append("--trace")

    async def holdings(self) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        told: dict[str, Any] = json.loads(await reader.read())
        writer.close()
        return told


async def _soak(
    worker: _Observed, tokens: Sequence[str], cold: Sequence[str], args: argparse.Namespace
) -> None:
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
        session = aiohttp.ClientSession(connector=connector)
        await stack.enter_async_context(session)
        callers = Callers(worker.url, session, tokens, cold, args.rate)
        print(
            f"{'minute':>7}{'answers':>9}{'MB':>8}{'files':>7}{'threads':>9}{'tasks':>7}",
            end="",
        )
        print(f"{'objects':>9}{'% of a core':>13}", flush=True)
        first: dict[str, Any] | None = None
        for minute in range(1, args.minutes + 1):
            began, spent = time.perf_counter(), cpu_time([worker.pid])
            await callers.come(MINUTE - REST)
            await asyncio.sleep(REST)
            share = (cpu_time([worker.pid]) - spent) / (time.perf_counter() - began)
            held = await worker.holdings()
            _tell(minute, callers.answers.total(), held, share)
            worker.lines.clear()
            first = first or held
        if first is not None:
            print(f"\nby status: {dict(sorted(callers.answers.items()))}")
            _compare(first, held)


def _tell(minute: int, answers: int, held: dict[str, Any], share: float) -> None:
    figures = f"{held['bytes'] / 1e6:8.1f}{held['files']:7}{held['threads']:9}{held['tasks']:7}"
    print(f"{minute:7}{answers:9,}{figures}{held['objects']:9,}{share * 100:13.1f}", flush=True)


def _compare(first: dict[str, Any], last: dict[str, Any]) -> None:
    """Print which kinds of objects grew from the first minute to the last."""
    grown = Counter(last["types"])
    grown.subtract(first["types"])
    for name, count in grown.most_common(_MOST_TYPES):
        if count > 0:
            print(f"{count:+9,} {name}")
    for line in last.get("grown", ()):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
