"""Many jobs, and more models than fit. At the end, nothing is left over."""

from __future__ import annotations

import asyncio
import itertools

from tests.e2e.processes import engines
from tests.e2e_runpod.harness import QueueHarness, said, streamed
from tests.eventually import eventually

JOBS = 64
ROOM = 2  # engines
IDLE = 2 + 2 * ROOM  # processes: the router, its heartbeat, and two per engine (with its guard)


async def test_each_of_many_jobs_is_answered_by_its_own_model(harness: QueueHarness) -> None:
    models = [harness.model(f"acme/model-{n}", tokens=9, interval=0.01) for n in range(4)]
    with harness.endpoint(STANDBY_ENGINES="0", MAX_LOADED_MODELS=str(ROOM)) as endpoint:
        worker = endpoint.worker
        for model in models[:ROOM]:
            endpoint.chat(model).wait()
        await eventually(lambda: len(worker.processes()) == IDLE)

        most = len(engines(worker))
        named = itertools.islice(itertools.cycle(models), JOBS)
        jobs = [
            (model, (endpoint.stream if n % 3 else endpoint.chat)(model))
            for n, model in enumerate(named)
        ]
        while any(job.outcome is None for _, job in jobs):
            most = max(most, len(await asyncio.to_thread(engines, worker)))
            await asyncio.sleep(0.02)
        for n, (model, job) in enumerate(jobs):
            text = streamed(job) if n % 3 else said(job.wait())
            assert text == 3 * f"I am {model}"
        assert most == ROOM
        await eventually(lambda: len(worker.processes()) == IDLE)
