"""Workers on a shared volume share their downloads and measurements."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from tests.e2e.caller import calling
from tests.e2e.harness import Harness


async def test_a_fleet_downloads_a_model_once_however_many_workers_are_asked_at_once(
    harness: Harness, tmp_path: Path
) -> None:
    name = harness.model("acme/shared")
    with ExitStack() as processes:
        workers = [
            processes.enter_context(harness.worker(HF_HOME=str(tmp_path))) for _ in range(3)
        ]
        async with AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(calling(one.url)) for one in workers]
            answers = await asyncio.gather(*(caller.chat(name) for caller in callers))
    assert {answer.text for answer in answers} == {f"I am {name}"}
    bodies = Counter(
        one.path for one in harness.hub.requests if one.method == "GET" and "/cdn/" in one.path
    )
    assert [path.rpartition("/")[2] for path in bodies] == ["model.safetensors"]
    assert set(bodies.values()) == {1}
    assert len(harness.journal.events("start", name)) == 3
