"""Callers use three models of a worker with room for two; measures the swaps.

The figures come from replaying the worker's own journal (`POOL_JOURNAL`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import aiohttp

from router.models import EngineKey
from router.scheduler import actions, events
from router.scheduler.trace import Step, replay
from tests import tiny_models
from tests.e2e_sglang.harness import engines_below
from tests.loopback_hub import LoopbackHub
from tests.worker import Worker

NAMES = ("apple", "cherry", "damson")
ROOM = 2
_PATIENCE = aiohttp.ClientTimeout(1500.0)


def new_worker(hub: LoopbackHub, directory: Path, **environ: str) -> Worker:
    """Make a worker without starting it, and put the models on the Hub."""
    for name in NAMES:
        hub.add_repo(repo(name), tiny_models.make(directory / "made", name))
    worker = directory / "worker"
    settings = {
        **hub.environment(),
        **engines_below(worker),
        "CUDA_VISIBLE_DEVICES": "",
        "MAX_LOADED_MODELS": str(ROOM),
        "POOL_JOURNAL": str(_journal(worker)),
        "REQUEST_TIMEOUT": f"{_PATIENCE.total:g}",
        **environ,
    }
    return Worker(worker, settings)


def repo(name: str) -> str:
    return f"tests/{name}"


def interleaved(requests: int, callers: int, seed: int) -> list[list[str]]:
    """Each caller's requests, in order: each model equally often, shuffled."""
    asked = [NAMES[number % len(NAMES)] for number in range(requests)]
    random.Random(seed).shuffle(asked)
    return [asked[number::callers] for number in range(callers)]


@dataclass(frozen=True, slots=True)
class Reply:
    name: str  # of the requested model
    text: str  # or the error
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the right model answered: each says its own name."""
        return self.text == tiny_models.answer(self.name)


async def ask(worker: Worker, asked: Sequence[Sequence[str]], pause: float) -> list[Reply]:
    """Each caller waits for its answer, pauses, and then sends its next request."""
    async with aiohttp.ClientSession(worker.url, timeout=_PATIENCE) as http:

        async def caller(names: Sequence[str]) -> list[Reply]:
            replies = []
            for name in names:
                replies.append(await _answer(http, name))
                await asyncio.sleep(pause)
            return replies

        return list(chain.from_iterable(await asyncio.gather(*map(caller, asked))))


async def _answer(http: aiohttp.ClientSession, name: str) -> Reply:
    clock = asyncio.get_running_loop().time
    began = clock()
    body = {"model": repo(name), "prompt": "Who are you?", "temperature": 0}
    async with http.post("/v1/completions", json=body) as response:
        if response.status != 200:
            return Reply(name, await response.text(), clock() - began)
        answer = await response.json()
    return Reply(name, answer["choices"][0]["text"], clock() - began)


@dataclass(frozen=True, slots=True)
class Start:
    """Times in seconds."""

    took: float  # from when it may take memory until it answers
    prestarted: bool  # it was already at its gate by then
    swap: float | None  # since another engine was told to stop for it; None: none was


def starts(worker: Worker) -> list[Start]:
    return list(_starts(replay(_journal(worker.directory).read_text().splitlines())))


def _journal(directory: Path) -> Path:
    return directory / "events.jsonl"


def _starts(steps: Iterator[Step]) -> Iterator[Start]:
    began: dict[EngineKey, float] = {}
    standing: set[int] = set()
    evicted_at: float | None = None
    for step in steps:
        match step.event:
            case events.Standing(_, generation):
                standing.add(generation)
            case events.Healthy(key, generation):
                swap = None if evicted_at is None else step.now - evicted_at
                yield Start(step.now - began[key], generation in standing, swap)
                evicted_at = None
        for action in step.actions:
            match action:
                case actions.Start(spec):
                    began[spec.key] = step.now
                case actions.Stop(_, _, "evicted"):
                    evicted_at = step.now
