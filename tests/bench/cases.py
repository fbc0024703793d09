"""The cases to measure on each way, and the figures of one round."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import client, wrk
from tests.bench.engine import IDLE
from tests.bench.processes import Running, cpu_time, resident
from tests.bench.products import STREAMING, WHOLE
from tests.bench.ways import CHAT, DIRECT, Way

IDLE_STREAMS = 1024
_SETTLE = 0.5  # seconds after opening streams, before measuring
_SLOW = 3  # factor for the measuring time of a product with few requests per second


@dataclass(frozen=True, slots=True)
class Case:
    """CPU time is divided by `unit`: a request, or an event of a stream."""

    title: str
    unit: str
    callers: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One round of one case on one way. Times are in microseconds."""

    cpu: float | None  # of the processes in between, per unit; None if there are none
    rate: float  # units per second
    median: float | None  # of the requests' latencies; None for streams


ONE, MANY, CROWD = (
    Case("one caller, whole answers", "request", 1),
    Case("32 callers, whole answers", "request", 32),
    Case("256 callers, whole answers", "request", 256),
)
STREAMS_64, STREAMS_256, STREAMS_1024 = (
    Case(f"{count:,} streams", "event", count) for count in (64, 256, 1024)
)
CASES = (ONE, MANY, CROWD, STREAMS_64, STREAMS_256, STREAMS_1024)


def takes_part(way: Way, case: Case) -> bool:
    return way.quick or case.callers <= (32 if case.unit == "request" else 64)


class Meter:
    """Measures cases. `headers`: those of a caller that may use the models."""

    def __init__(self, headers: Mapping[str, str], directory: Path) -> None:
        self._headers = headers
        self._whole = _body(WHOLE)
        self._script = wrk.script(directory, self._whole, headers)

    async def measure(self, case: Case, way: Way, seconds: int) -> Figures:
        if case.unit == "request":
            return await self._measure_whole(case, way, seconds)
        return await self._measure_streams(case, way, seconds)

    async def _measure_whole(self, case: Case, way: Way, seconds: int) -> Figures:
        url = way.whole.url + CHAT
        if not way.quick:
            seconds *= _SLOW
        sample: wrk.Sample | client.Sample
        while True:
            began = cpu_time(way.whole.pids)
            sample = await self._load(url, case.callers, seconds)
            spent = cpu_time(way.whole.pids) - began
            if sample.requests:
                break
            seconds *= 2  # many callers on a busy machine: no answer came yet
        cpu = None if way.name == DIRECT else spent / sample.requests * 1e6
        return Figures(cpu, sample.rate, sample.median * 1e6)

    async def _load(self, url: str, callers: int, seconds: int) -> wrk.Sample | client.Sample:
        if wrk.find() is not None:
            return await wrk.load(url, self._script, callers, seconds)
        return await client.load(url, self._whole, callers, seconds, self._headers)

    async def _measure_streams(self, case: Case, way: Way, seconds: int) -> Figures:
        body, pids = _body(STREAMING, stream=True), way.streams.pids
        url = way.streams.url + CHAT
        async with client.streams(url, body, case.callers, self._headers) as open_streams:
            await asyncio.sleep(_SETTLE)
            began, at, before = cpu_time(pids), time.perf_counter(), open_streams.events
            await asyncio.sleep(seconds)
            spent, elapsed = cpu_time(pids) - began, time.perf_counter() - at
            events = open_streams.events - before
        cpu = None if way.name == DIRECT else spent / events * 1e6
        return Figures(cpu, events / elapsed, None)

    async def idle_stream(self, way: Way) -> float:
        """Memory in bytes of one more open but silent stream.

        Measure it before anything else makes the process grow.
        """
        body = _body(STREAMING, stream=True, user=IDLE)
        url, pids = way.streams.url + CHAT, way.streams.pids
        async with client.streams(url, body, 64, self._headers):
            await asyncio.sleep(_SETTLE)
            before = resident(pids)
            async with client.streams(url, body, IDLE_STREAMS, self._headers):
                await asyncio.sleep(_SETTLE)
                return (resident(pids) - before) / IDLE_STREAMS


async def idle_cpu(places: Mapping[str, Running], seconds: float) -> Mapping[str, float]:
    """The share of a core that each process uses without requests, measured at the same
    time."""
    began = {name: cpu_time(place.pids) for name, place in places.items()}
    at = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - at
    return {name: (cpu_time(places[name].pids) - began[name]) / elapsed for name in places}


def _body(model: str, **fields: object) -> bytes:
    content = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return json.dumps(content, separators=(",", ":")).encode()
