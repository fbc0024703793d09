"""What is measured on each way, and the figures of one round."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.client import load, streams
from tests.bench.ways import CHAT, GATED, PUBLIC, Way


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """`unit` is what CPU time is divided by: a request, or an event of a stream."""

    title: str
    unit: str
    callers: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """One round of one case on one way. Times are in microseconds."""

    cpu: float | None  # of the process in between, per unit; None where there is none
    rate: float  # units a second
    median: float | None  # of the requests' latencies; None for streams


def cases(token: str) -> list[Case]:
    entitled = {"X-HF-Token": token}
    return [
        Case("one caller, a whole answer", "request", 1, _body(PUBLIC), {}),
        Case("32 callers, whole answers", "request", 32, _body(PUBLIC), {}),
        Case("32 callers with a token, a gated model", "request", 32, _body(GATED), entitled),
        Case("256 streams", "event", 256, _body(PUBLIC, stream=True), {}),
    ]


def _body(model: str, **fields: object) -> bytes:
    content = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return json.dumps(content, separators=(",", ":")).encode()


async def measure(case: Case, way: Way, seconds: float) -> Figures:
    url = way.url + CHAT
    if case.unit == "request":
        began = _cpu_time(way.pid)
        sample = await load(url, case.body, case.callers, seconds, case.headers)
        spent = _cpu_time(way.pid) - began
        return Figures(
            _each(way, spent, len(sample.latencies)), sample.rate, sample.median * 1e6
        )
    async with streams(url, case.body, case.callers, case.headers) as open_streams:
        await asyncio.sleep(0.5)  # what it took to open them is over
        began, at, before = _cpu_time(way.pid), time.perf_counter(), open_streams.events
        await asyncio.sleep(seconds)
        spent, elapsed = _cpu_time(way.pid) - began, time.perf_counter() - at
        events = open_streams.events - before
    return Figures(_each(way, spent, events), events / elapsed, None)


def _each(way: Way, spent: float, units: int) -> float | None:
    return None if way.pid is None else spent / units * 1e6


def _cpu_time(pid: int | None) -> float:
    """Seconds of user and system time of all of a process's threads, children excluded.

    Linux numbers the CPU clocks of other processes like this (clock_getcpuclockid(3));
    `/proc/PID/stat` counts the same in steps of 10 ms.
    """
    return 0.0 if pid is None else time.clock_gettime((~pid << 3) | 2)
