"""The Hub's own tools work on a cache that the worker has filled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.caller import calling
from tests.e2e.harness import Harness


async def test_pruning_offers_nothing_that_is_loaded(harness: Harness, tmp_path: Path) -> None:
    name = harness.model("acme/kept")
    old = harness.hub.commit(name, {"note.json": b"1"})
    new = harness.hub.commit(name, {"note.json": b"2"})
    with harness.worker(HF_HOME=str(tmp_path), MAX_LOADED_MODELS="2") as worker:
        async with calling(worker.url) as caller:
            for model in (f"{name}@{old}", name):
                assert (await caller.chat(model)).text == f"I am {name}"
        assert "Nothing to prune" in await asyncio.to_thread(
            _hf, tmp_path, "prune", "--dry-run"
        )
        listed = await asyncio.to_thread(_hf, tmp_path, "ls", "--revisions", "--format", "json")
        assert all(commit in listed for commit in (old, new))
        assert '"main"' in listed


def _hf(home: Path, *command: str) -> str:
    answer = subprocess.run(
        [Path(sys.executable).with_name("hf"), "cache", *command],
        env={"HOME": str(home), "HF_HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return answer.stdout + answer.stderr
