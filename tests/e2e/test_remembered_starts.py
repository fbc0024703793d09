"""Measurements of starts survive the worker, on the volume with the models."""

from __future__ import annotations

import json
from pathlib import Path

from router.scheduler.history import Stage
from tests.e2e.caller import calling
from tests.e2e.harness import Harness


async def test_a_worker_knows_what_starts_took_in_the_one_before(
    harness: Harness, tmp_path: Path
) -> None:
    name = harness.model("acme/remembered", start_delay=0.5)
    told = tmp_path / "events.jsonl"
    for _ in range(2):
        with harness.worker(HF_HOME=str(tmp_path), POOL_JOURNAL=str(told)) as worker:
            async with calling(worker.url) as caller:
                assert (await caller.chat(name)).text == f"I am {name}"
    rows = [json.loads(line) for line in told.read_text().splitlines()]
    [earlier] = [row["earlier"] for row in rows if "earlier" in row]
    [start] = [fact for fact in earlier if fact["kind"] == Stage.START]
    assert start["value"] >= 0.5
    [file] = (tmp_path / "hub" / "router-history").iterdir()
    assert name not in file.read_text()
