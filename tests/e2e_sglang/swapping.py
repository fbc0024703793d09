"""Callers that ask three models of a worker with room for two, and what that took.

The figures come from the worker's own journal (`POOL_JOURNAL`), replayed.
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
    """Not started yet. Puts the models on the Hub."""
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
    """What each caller asks, in order: each model as often as any other, shuffled."""
    asked = [NAMES[number % len(NAMES)] for number in range(requests)]
    random.Random(seed).shuffle(asked)
    return [asked[number::callers] for number in range(callers)]


@dataclass(frozen=True, slots=True)
class Reply:
    name: str  # of the model that was asked
    text: str  # or what went wrong
    seconds: float

    @property
    def right(self) -> bool:
        """Each model says which one it is."""
        return self.text == tiny_models.answer(self.name)


async def ask(worker: Worker, asked: Sequence[Sequence[str]], pause: float) -> list[Reply]:
    """Each caller waits for its answer and for a while before it asks again."""
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

    took: float  # from when it might take memory until it answered
    prestarted: bool  # it had been at its gate by then
    swap: float | None  # from when another engine was told to stop for it; None: none was


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
