"""Measures a cold start, a start from the gate, sleep and waking: the time, and the memory
freed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import aiohttp

from engines.launcher import SglangEngine
from router.models import EngineSpec, ResolvedModel
from router.pool.interfaces import EngineLauncher, MemoryGauge
from router.scheduler.actions import Allotment
from tests.gpu.models import GIB

_QUESTION = {
    "text": "Who are you?",
    "sampling_params": {"max_new_tokens": 32, "temperature": 0},
}
_CACHE = 4 * GIB  # for the cache and activations, in addition to the weights

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """Seconds and bytes. The page cache is warm from the previous run."""

    weights: int
    cold_start: float
    to_gate: float  # the process start, up to the gate
    from_gate: float  # the rest of the start
    held: int  # on the GPU
    sleep: float
    left: int  # on the GPU while asleep
    host: int  # of host memory, used by sleep
    wake: float
    second_sleep: float
    second_wake: float
    same_answers: bool


class _Gate:
    """Opens when the engine has reached it."""

    def __init__(self, allotment: Allotment) -> None:
        self._allotment = allotment
        self.stood = asyncio.Event()
        self.open = asyncio.Event()

    def standing(self) -> None:
        self.stood.set()

    async def opened(self) -> Allotment:
        await self.open.wait()
        return self._allotment


class Measurement:
    """Measures one model on a GPU that nothing else uses."""

    def __init__(
        self, launcher: EngineLauncher, gpu: MemoryGauge, host: MemoryGauge, model: Path
    ) -> None:
        self._launcher, self._gpu, self._host, self._model = launcher, gpu, host, model
        self._spec = EngineSpec(ResolvedModel(f"gpu/{model.name}", "0" * 40))
        self._weights = sum(one.stat().st_size for one in model.glob("*.safetensors"))

    async def take(self) -> Figures:
        before = self._gpu.free()
        engine, cold = await _timed(self._start)
        try:
            free = self._gpu.free()
            answers = [await _answer(engine)]
            host = self._host.free()
            _, sleep = await _timed(engine.sleep)
            left = max(0, before - await self._gpu.settled(before))
            taken = host - self._host.free()
            _, wake = await _timed(engine.wake)
            answers.append(await _answer(engine))
            _, second_sleep = await _timed(engine.sleep)
            _, second_wake = await _timed(engine.wake)
            answers.append(await _answer(engine))
        finally:
            await engine.stop()
        await self._gpu.recovered(before)
        to_gate, from_gate = await self._by_gate()
        return Figures(
            weights=self._weights,
            cold_start=cold,
            to_gate=to_gate,
            from_gate=from_gate,
            held=before - free,
            sleep=sleep,
            left=left,
            host=max(0, taken),
            wake=wake,
            second_sleep=second_sleep,
            second_wake=second_wake,
            same_answers=len({*answers}) == 1,
        )

    def _allotment(self, free: int) -> Allotment:
        claim = min(free, int(self._weights * 1.1) + _CACHE)
        return Allotment(claim=claim, free=free, whole=False, sleeps=True)

    async def _start(self) -> SglangEngine:
        allotment = self._allotment(self._gpu.free())
        engine = await self._launcher.start(self._spec, self._model, allotment)
        assert isinstance(engine, SglangEngine)
        return engine

    async def _by_gate(self) -> tuple[float, float]:
        """Seconds up to the gate, and from the gate to ready."""
        allotment = self._allotment(self._gpu.free())
        gate, began = _Gate(allotment), time.monotonic()
        start = asyncio.create_task(
            self._launcher.start(self._spec, self._model, allotment, gate)
        )
        stood = asyncio.create_task(gate.stood.wait())
        await asyncio.wait({start, stood}, return_when=asyncio.FIRST_COMPLETED)
        stood.cancel()
        reached = time.monotonic()
        gate.open.set()
        engine = await start
        ready = time.monotonic()
        await engine.stop()
        return reached - began, ready - reached


async def _timed(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    began = time.monotonic()
    return await work(), time.monotonic() - began


async def _answer(engine: SglangEngine) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{engine.url}/generate", json=_QUESTION, headers=engine.signed) as answer,
    ):
        text: str = (await answer.json())["text"]
        return text


def table(found: list[Figures]) -> str:
    """The figures in Markdown, one column per model."""
    head = ["", *(f"{one.weights / GIB:.1f} GiB" for one in found)]
    body = [
        [row.name.replace("_", " "), *(_shown(getattr(one, row.name)) for one in found)]
        for row in fields(Figures)[1:]
    ]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value / GIB:.2f} GiB" if isinstance(value, int) else f"{value:.1f} s"
