"""The composition root: what must go on to the end, and what ends the worker."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from router.app import Configuration, Worker
from router.clock import LATE, TICK, WorkerClock


def worker(home: Path) -> Worker:
    environ = {"HOME": str(home), "HF_HOME": str(home), "PATH": os.environ["PATH"]}
    return Worker(Configuration.read(environ))


async def test_the_clock_is_looked_at_until_the_last_engine_is_gone(tmp_path: Path) -> None:
    """Unwatched it stands still, and no deadline of a drain would ever come."""
    made = worker(tmp_path)
    looks = asyncio.Event()

    class Watched(WorkerClock):
        def look(self) -> float:
            looks.set()
            return super().look()

    made._clock = Watched()
    async with made.open() as service:
        made._told_to_leave.set()
        await made.until_leaving(service)
        looks.clear()
        await asyncio.wait_for(looks.wait(), TICK + LATE)
        assert await made.drain() == 0


async def test_a_task_of_the_worker_that_breaks_down_makes_it_leave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = worker(tmp_path)

    async def breaks(_: object) -> None:
        raise ZeroDivisionError

    made._warm_up = breaks  # type: ignore[method-assign,assignment]
    async with made.open() as service:
        await asyncio.wait_for(made.until_leaving(service), 5)
        assert await made.drain() == 1
    assert "broke down" in caplog.text
